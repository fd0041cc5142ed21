// Attention over all keys from attention over parts of them.
#pragma once

#include <vector>

#include "oracle/tensor.h"

namespace tilewise::oracle {

struct Part {
  Tensor output;  // (queries, heads, value dim)
  Tensor lse;     // (heads, queries), without the sink
};

// `sinks` holds one logit a head, or nothing.
[[nodiscard]] Part merge(const std::vector<Part>& parts, const std::vector<double>& sinks);

}  // namespace tilewise::oracle
