// How the plain kernels are launched: sizes that host and kernels share. Each kernel takes kThreads
// threads a block, sizeof of its memory struct in shared memory, and any number of blocks: `tasks`
// of them share the work best, fewer take several tasks each.
#pragma once

#include "backends/cuda/kernels/attention.h"
#include "core/softmax.h"

namespace tilewise::cuda::plain {

inline constexpr int32 kThreads = 128;

// What __launch_bounds__ has to say of blocks a multiprocessor: without it, NVRTC 12.8 takes 96 to
// 128 registers where a kernel wants 160, and spills.
inline constexpr int32 kLeastBlocks = 1;

// Columns of a tensor that a block has sums for: dims beyond that take further blocks.
inline constexpr int32 kWidth = 64;

// Queries and keys of a tile: with these, all that a block needs fits into 48 KiB.
template <class T>
inline constexpr int32 kSide = sizeof(T) == 4 ? 64 : 32;

// What is known of each query row before any tile of backward. Its denominator, as a Row whose
// weights are exp2(score - max) / sum; and delta_i = sum(dO_i * O_i) - dlse_i, the part of a
// score's gradient that comes through that denominator.
template <class T>
struct KnownRow {
  T delta;
  core::Row<T> denominator;
};

template <class T>
TW_HD int64 query_tiles(const Shape& shape) {
  return core::ceil_div(shape.queries, kSide<T>);
}

TW_HD inline int64 parts_of(int64 dim) {
  return core::ceil_div(dim, kWidth);
}

template <class T>
TW_HD int64 forward_tasks(const Attention& p) {
  return p.shape.batch * p.shape.heads * query_tiles<T>(p.shape) * parts_of(p.shape.value_dim);
}

// Of probabilities, and of the first pass of backward.
template <class T>
TW_HD int64 row_tasks(const Shape& shape) {
  return shape.batch * shape.heads * query_tiles<T>(shape);
}

template <class T>
TW_HD int64 query_gradient_tasks(const Backward& p) {
  const Shape& shape = p.attention.shape;
  // The slopes' gradient is found on the way of the first part.
  return row_tasks<T>(shape) * (p.gradients.query ? parts_of(shape.dim) : 1);
}

// A block's part is of the key's or of the value's gradient.
TW_HD inline int64 key_parts(const Backward& p) {
  return p.gradients.key ? parts_of(p.attention.shape.dim) : 0;
}

TW_HD inline int64 value_parts(const Backward& p) {
  return p.gradients.value ? parts_of(p.attention.shape.value_dim) : 0;
}

template <class T>
TW_HD int64 key_gradient_tasks(const Backward& p) {
  const Shape& shape = p.attention.shape;
  return shape.batch * shape.key_heads * core::ceil_div(shape.keys, kSide<T>) *
         (key_parts(p) + value_parts(p));
}

template <class T>
TW_HD int64 bias_gradient_tasks(const Axes& size) {
  return size.batch * size.head * core::ceil_div(size.row, kSide<T>) *
         core::ceil_div(size.column, kSide<T>);
}

// The slopes' gradient by (batch, head), then that of the sinks by head.
TW_HD inline int64 head_gradient_tasks(const Backward& p) {
  const int64 heads = p.attention.shape.heads;
  return heads *
         ((p.gradients.slopes ? p.gradients.slopes_batch : 0) + (p.gradients.sinks ? 1 : 0));
}

}  // namespace tilewise::cuda::plain
