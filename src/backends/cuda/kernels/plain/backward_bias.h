// The backward pass for the gradient of the bias. A block owns a tile of that gradient: it sums the
// score gradients of all sequences, heads and tiles that the bias tile was broadcast to, and stores
// the sum. No other block adds to the tile, so the workspace holds no sums for it.
#pragma once

#include "backends/cuda/kernels/plain/backward_tile.h"

namespace tilewise::cuda::plain {

// Of `all` indices of a dimension, those that use index `own` of a bias with `size` elements in it:
// `own` itself, or all of them if the bias was broadcast.
TW_DEVICE Range served(int64 size, int64 own, int64 all) {
  return size == 1 ? Range{0, all} : Range{own, core::smaller(own + 1, all)};
}

// Adds one head's score gradients for the tile.
template <class T>
TW_DEVICE void add_bias_gradient(const Backward& p, BackwardMemory<T>& memory, int64 row,
                                 int64 column, ScoreRegisters<T>& sums) {
  ScoreTile<T>& tile = memory.tile;
  const Range rows = tile_range(row, kSide<T>, tile.head.queries.length);
  const Range columns = tile_range(column, kSide<T>, tile.head.keys.length);
  if (rows.empty() || columns.empty() || tile.head.cover(rows, columns) == Cover::kNone) return;
  load_rows(p, memory, rows);
  load_key(p.attention, tile, columns);
  differentiate(p, memory, Wants::kGradient);
  sums.each([&](int32 i, int32 j, int32 at_row, int32 at_column) {
    sums.at[i][j] += tile.gradient[at_row * (kSide<T> + 1) + at_column];
  });
}

template <class T>
TW_DEVICE void walk_served(const Backward& p, BackwardMemory<T>& memory, const Axes& own,
                           ScoreRegisters<T>& sums) {
  const Shape& shape = p.attention.shape;
  const Axes& size = p.gradients.bias_size;
  const Range rows = served(size.row, own.row, query_tiles<T>(shape));
  const Range columns = served(size.column, own.column, core::ceil_div(shape.keys, kSide<T>));
  const Range heads = served(size.head, own.head, shape.heads);
  const Range batch = served(size.batch, own.batch, shape.batch);
  for (int64 n = 0; n < batch.size() * heads.size(); ++n) {
    memory.tile.head.enter(p.attention, batch.begin + n / heads.size(),
                           heads.begin + n % heads.size());
    for (int64 r = rows.begin; r < rows.end; ++r)
      for (int64 c = columns.begin; c < columns.end; ++c) add_bias_gradient(p, memory, r, c, sums);
  }
}

// Sums over rows and columns that the bias was broadcast to, and writes the tile.
template <class T>
TW_DEVICE void store_bias_gradient(const Backward& p, BackwardMemory<T>& memory, const Axes& own,
                                   const ScoreRegisters<T>& sums) {
  const Axes& size = p.gradients.bias_size;
  const Tensor& to = p.gradients.bias;
  T* between = memory.tile.scores;
  block_barrier();
  sums.each([&](int32 i, int32 j, int32 row, int32 column) {
    between[row * (kSide<T> + 1) + column] = sums.at[i][j];
  });
  block_barrier();
  const auto rows = static_cast<int32>(tile_range(own.row, kSide<T>, size.row).size());
  const auto columns = static_cast<int32>(tile_range(own.column, kSide<T>, size.column).size());
  for (int32 n = thread_index(); n < rows * columns; n += kThreads) {
    const int32 i = n / columns, j = n % columns;
    const int32 last_i = size.row == 1 ? kSide<T> : i + 1;
    const int32 last_j = size.column == 1 ? kSide<T> : j + 1;
    T sum = 0;
    for (int32 r = i; r < last_i; ++r)
      for (int32 c = j; c < last_j; ++c) sum += between[r * (kSide<T> + 1) + c];
    store(to, to.offset(own.batch, own.head, own.row * kSide<T> + i, own.column * kSide<T> + j),
          sum);
  }
}

template <class T>
TW_DEVICE void backward_bias(const Backward& p) {
  auto& memory = shared_memory<BackwardMemory<T>>();
  const Axes& size = p.gradients.bias_size;
  const int64 rows = core::ceil_div(size.row, kSide<T>);
  const int64 columns = core::ceil_div(size.column, kSide<T>);
  for_each_task(bias_gradient_tasks<T>(size), [&](int64 task) {
    const int64 above = task / columns, head = above / rows;
    const Axes own{head / size.head, head % size.head, above % rows, task % columns};
    ScoreRegisters<T> sums;
    sums.clear();
    walk_served(p, memory, own, sums);
    store_bias_gradient(p, memory, own, sums);
  });
}

}  // namespace tilewise::cuda::plain
