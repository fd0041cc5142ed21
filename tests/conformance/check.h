// Runs one case through every operation and compares the results with the oracle.
#pragma once

#include "conformance/case.h"
#include "conformance/report.h"

namespace tilewise::conformance {

// Checks forward with and without lse, probabilities and gradients, and all memory around them.
[[nodiscard]] Report check_case(const Case& drawn);

// Checks forward with and without lse, and the memory around it.
[[nodiscard]] Report check_forward(const Case& drawn);

// Checks a needle case to the bit: each query gets its key's value and each value its query's
// gradient, lse is that key's score, and scores have no gradient. It needs no oracle, so any length
// will do.
[[nodiscard]] Report check_needles(const Case& drawn);

}  // namespace tilewise::conformance
