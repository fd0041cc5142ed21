// One case through every operation, against the oracle.
#pragma once

#include "conformance/case.h"
#include "conformance/compare.h"

namespace tilewise::conformance {

// Forward with and without lse, the probabilities and the gradients, in float64.
[[nodiscard]] Report check_case(const Case& drawn);

// How many cases to draw: TILEWISE_CASES, or `usual`. TILEWISE_SEED draws that one case alone.
struct Draws {
  std::uint64_t first = 0, count = 0;
  bool is_replay = false;
};
[[nodiscard]] Draws draws(std::uint64_t first, std::uint64_t usual);

}  // namespace tilewise::conformance
