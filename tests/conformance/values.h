// Draws the numbers of a case by its family, and writes them into the rows that sequences own.
#pragma once

#include "conformance/case.h"
#include "conformance/setup.h"
#include "oracle/random.h"

namespace tilewise::conformance {

// Whether the family hides keys row by row, in place of the case's mask.
[[nodiscard]] inline bool hides_keys(Family family) {
  return family == Family::kLonely || family == Family::kLate;
}

// The key that a needle query looks for.
[[nodiscard]] std::int64_t needle_of(const Case& drawn, std::int64_t b, std::int64_t i);

void fill_values(const Case& drawn, oracle::Random& random, Setup& setup);

}  // namespace tilewise::conformance
