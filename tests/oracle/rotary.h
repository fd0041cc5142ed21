// Rotary position embedding from its definition: each pair of elements turns by its angle.
#pragma once

#include <cstdint>
#include <vector>

#include "oracle/tensor.h"

namespace tilewise::oracle {

struct Rotation {
  Tensor cosine, sine;       // (positions, columns)
  bool interleaved = false;  // pairs (2c, 2c + 1); otherwise (c, c + columns)
  bool inverse = false;      // turns back, which is also the gradient
};

// Row t of (rows, heads, dim) turns by the angles of positions[t].
[[nodiscard]] Tensor rotate(const Tensor& input, const Rotation& rotation,
                            const std::vector<std::int64_t>& positions);

}  // namespace tilewise::oracle
