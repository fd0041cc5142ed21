// Runs one case's calls and compares the results with the oracle's or, for needles, with those
// known in advance.
#pragma once

#include "conformance/case.h"
#include "conformance/report.h"

namespace tilewise::conformance {

// Checks forward with and without lse, probabilities and gradients, and all memory around them.
[[nodiscard]] Report check_case(const Case& drawn);

// Checks forward with and without lse, and the memory around it.
[[nodiscard]] Report check_forward(const Case& drawn);

// Checks a needle case. To the bit: each query gets its key's value, and each such value its
// query's gradient. Within rounding: lse is that key's score, and all other gradients are 0. It
// needs no oracle, so any length will do.
[[nodiscard]] Report check_needles(const Case& drawn);

}  // namespace tilewise::conformance
