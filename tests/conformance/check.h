// Runs a case's calls and compares the results with the oracle's, or in a needle case, where each
// query finds one key, with results known without it.
#pragma once

#include "conformance/case.h"
#include "conformance/report.h"

namespace tilewise::conformance {

// Checks forward with and without lse, probabilities and gradients, and all memory around them.
[[nodiscard]] Report check_case(const Case& drawn);

// Checks forward with and without lse, and the memory around it.
[[nodiscard]] Report check_forward(const Case& drawn);

// Checks a needle case: all of a query's weight lies on one key. Output must be that key's value,
// and dV there the query's dO, to the bit. Within rounding, lse must be the key's score, and dQ, dK
// and the rest of dV 0. The slow oracle does not run, so the case may be long.
[[nodiscard]] Report check_needles(const Case& drawn);

}  // namespace tilewise::conformance
