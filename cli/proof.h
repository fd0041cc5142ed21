// Compares what the library computed with the float64 oracle, on all rows or on bands of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/core/call.h"

namespace tilewise::cli {

// Rows of one causal sequence. They see no key behind their last one, so the oracle needs no more
// keys; and where they reach the sequence's end, their own keys are seen by nobody else, which
// makes those keys' gradients whole.
struct RowBand {
  std::int64_t first = 0, rows = 0;
};

// One result's worst error in units of its bound, and ||error|| / ||exact||. The bound of an
// element must allow for every rounding going the wrong way; over many elements far less is
// allowed.
struct Agreement {
  std::string name;
  double worst = 0, relative = 0, allowed = 0;
  std::int64_t elements = 0;
};
[[nodiscard]] bool is_exact(const Agreement& agreement);

// For a call of batch 1, causal, with as many keys as queries, that ran forward and backward.
[[nodiscard]] std::vector<Agreement> prove(const Call& call, const std::vector<RowBand>& bands);

}  // namespace tilewise::cli
