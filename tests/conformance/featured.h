// Cases for kernels with features compiled in.
#pragma once

#include "conformance/case.h"

namespace tilewise::conformance {

// The features are scale, softcap, ALiBi, bias, boolean mask, block mask and dropout.
inline constexpr int kFeatureCount = 7;

// A case with one or two of the features, and perhaps a band and sinks, in a 16-bit type. It has
// several tiles on both sides, the last mostly partial, and all rows are whole pieces of 16 bytes.
Case featured_case(int one, int other);

}  // namespace tilewise::conformance
