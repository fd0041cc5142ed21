// One case through every operation, against the oracle.
#pragma once

#include "conformance/case.h"
#include "conformance/report.h"

namespace tilewise::conformance {

// Forward with and without lse, the probabilities and the gradients; and all memory around them.
[[nodiscard]] Report check_case(const Case& drawn);

// Forward alone, with and without lse, and the memory around it.
[[nodiscard]] Report check_forward(const Case& drawn);

// Each query finds the value of its key, and each value the gradient of its query, to the bit; lse
// is the score of that key, and scores have no gradient. No oracle is needed, and so no length is
// too long.
[[nodiscard]] Report check_needles(const Case& drawn);

}  // namespace tilewise::conformance
