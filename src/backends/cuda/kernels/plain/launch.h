// Sizes that the plain kernels share with the host, which launches them. A block has kThreads
// threads and as much shared memory as the kernel's memory struct needs. The grid may have any
// size: with one block per task (see the functions *_tasks) the work is spread best, and with fewer
// blocks each takes several tasks.
#pragma once

#include "backends/cuda/kernels/attention.h"
#include "core/softmax.h"

namespace tilewise::cuda::plain {

inline constexpr int32 kThreads = 128;

// The minimum of blocks per multiprocessor for __launch_bounds__. Without it, NVRTC 12.8 gives
// kernels that need 160 registers only 96 to 128, and they spill.
inline constexpr int32 kLeastBlocks = 1;

// Columns of a tensor that a block accumulates. Larger dims take more blocks.
inline constexpr int32 kWidth = 64;

// Queries and keys of a tile. With these a block's shared memory fits into 48 KiB.
template <class T>
inline constexpr int32 kSide = sizeof(T) == 4 ? 64 : 32;

// What backward knows of each query row before it visits tiles. The denominator is a Row: weights
// are exp2(score - max) / sum. The gradient of a score is weight * (dP - delta), with
// delta_i = sum(dO_i * O_i) - dlse_i.
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

// Tasks of probabilities, and of the first pass of backward.
template <class T>
TW_HD int64 row_tasks(const Shape& shape) {
  return shape.batch * shape.heads * query_tiles<T>(shape);
}

template <class T>
TW_HD int64 query_gradient_tasks(const Backward& p) {
  const Shape& shape = p.attention.shape;
  // The first part of the columns also sums the slopes' gradient.
  return row_tasks<T>(shape) * (p.gradients.query ? parts_of(shape.dim) : 1);
}

// Tasks for one tile of keys: each has kWidth columns of the key's or of the value's gradient.
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

// One task for each number of the slopes' gradient, then one per head for sinks.
TW_HD inline int64 head_gradient_tasks(const Backward& p) {
  const int64 heads = p.attention.shape.heads;
  return heads *
         ((p.gradients.slopes ? p.gradients.slopes_batch : 0) + (p.gradients.sinks ? 1 : 0));
}

}  // namespace tilewise::cuda::plain
