// Calls for kernels with features compiled in.
#pragma once

#include "conformance/case.h"

namespace tilewise::conformance {

// Scale, softcap, ALiBi, bias, boolean mask, block mask, dropout.
inline constexpr int kFeatureCount = 7;

// A call with one of these or with two, in a 16-bit type: several tiles on both sides, the last of
// which mostly end inside, and all rows in pieces of 16 bytes.
Case featured_case(int one, int other);

}  // namespace tilewise::conformance
