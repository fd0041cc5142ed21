// Numbers of each query row that backward finds before any tile, and sums of the rows' gradients.
#pragma once

#include "backends/cpu/rows.h"

namespace tilewise::cpu {

// The row sums of all heads. Rows of head h of sequence b begin at (b * heads + h) * queries.
template <class T>
struct RowSums {
  RowSums(const Problem& p, const Kernels<T>& kernels, Arena& arena)
      : heads(p.shape.heads),
        queries(p.shape.queries),
        pitch(core::round_up(p.shape.dim, kernels.lanes)) {
    const int64 rows = p.shape.batch * heads * queries;
    max = arena.take<T>(rows);
    inverse_sum = arena.take<T>(rows);
    delta = arena.take<T>(rows);
    if (p.gradients.query) query = arena.take<T>(rows * pitch);
    if (p.gradients.slopes) slope = arena.take<T>(rows);
    if (p.gradients.sinks) sink = arena.take<T>(rows);
  }

  int64 first(int64 b, int64 h) const { return (b * heads + h) * queries; }

  int64 heads, queries, pitch;
  T *max, *inverse_sum;  // weight = 2^(score - max) * inverse_sum
  T* delta;            // sum(dO * O) - dlse: the part of a score's gradient through the denominator
  T* query = nullptr;  // [row][pitch]: the query gradient before the scale
  T *slope = nullptr, *sink = nullptr;  // each row's part of these gradients
};

}  // namespace tilewise::cpu
