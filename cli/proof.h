// Compares what the library computed with the float64 oracle, on all rows or on bands of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/core/call.h"

namespace tilewise::cli {

// Rows of one causal sequence. They see no key after their last row, so the oracle computes only
// the keys up to it. If the band reaches the sequence's end, no other row sees the band's own
// keys, so the gradients of these keys can be compared, too.
struct RowBand {
  std::int64_t first = 0, rows = 0;
};

// One result's largest error (`worst`), in units of the element's bound, and ||error|| / ||exact||
// (`relative`) with its limit (`allowed`). The limit is much stricter than the bounds, because an
// element's bound assumes that all its roundings go the same way.
struct Agreement {
  std::string name;
  double worst = 0, relative = 0, allowed = 0;
  std::int64_t elements = 0;
};
[[nodiscard]] bool is_exact(const Agreement& agreement);

// Compares a causal call of batch 1 with as many keys as queries, which ran forward and backward.
[[nodiscard]] std::vector<Agreement> prove(const Call& call, const std::vector<RowBand>& bands);

}  // namespace tilewise::cli
