// Cases for kernels with features compiled in.
#pragma once

#include "conformance/case.h"

namespace tilewise::conformance {

// The features are scale, softcap, ALiBi, bias, boolean mask, block mask and dropout.
inline constexpr int kFeatureCount = 7;

// A case in a 16-bit type with the features numbered `one` and `other`, which may be the same, and
// perhaps a band and sinks. Queries and keys take several tiles, of which the last is mostly
// partial; rows are multiples of 16 bytes.
Case featured_case(int one, int other);

}  // namespace tilewise::conformance
