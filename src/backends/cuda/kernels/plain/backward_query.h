// The backward pass for the query's gradient, which also stores each tile's part of the slopes'
// gradient. A block has a tile of queries of one head and kWidth columns of the gradient.
#pragma once

#include "backends/cuda/kernels/plain/backward_rows.h"

namespace tilewise::cuda::plain {

// This thread's part of what a tile of scores adds to the slope's gradient.
template <class T>
TW_DEVICE T partial_slope(const ScoreTile<T>& tile) {
  T partial = 0;
  for_each_row(tile, [&](int32 i) {
    for_each_column<T>([&](int32 j) {
      if (j >= tile.at.columns.size()) return;
      const int64 away = core::distance(tile.at.rows.begin + i, tile.at.columns.begin + j,
                                        tile.head.band.diagonal);
      partial += tile.gradient[i * (kSide<T> + 1) + j] * core::Alibi<T>::derivative(away);
    });
  });
  return partial;
}

template <class T>
TW_DEVICE void store_query_gradient(const Backward& p, BackwardMemory<T>& memory, int64 first,
                                    const SumRegisters<T>& sums) {
  const Attention& a = p.attention;
  ScoreTile<T>& tile = memory.tile;
  const Tensor& to = p.gradients.query;
  block_barrier();
  const auto rows = static_cast<int32>(tile.at.rows.size());
  for (int32 i = thread_index(); i < rows; i += kThreads)
    memory.output_gradient[i] = query_spot(p, tile, i).in(to, tile.head.h);
  const T scale = static_cast<T>(a.scores.scale);
  store_sums(Written<T>{to, memory.output_gradient, first, a.shape.dim, rows}, sums, tile.sums,
             [scale](int32) { return scale; });
}

// Computes the query's gradient. Returns this thread's part of the slope's gradient.
template <class T>
TW_DEVICE T find_query_gradient(const Backward& p, BackwardMemory<T>& memory, Range rows,
                                const Work& work) {
  ScoreTile<T>& tile = memory.tile;
  const int64 first = work.part * kWidth;
  SumRegisters<T> sums;
  sums.clear();
  T partial = 0;
  load_rows(p, memory, rows);
  tile.head.for_each_key_tile(rows, kSide<T>, [&](Range columns) {
    load_key(p.attention, tile, columns);
    differentiate(p, memory, Wants::kGradient);
    if (p.sums.slopes && work.part == 0) partial += partial_slope(tile);
    if (!p.gradients.query) return;
    SumRegisters<T> of_tile;
    of_tile.clear();
    add_weighted(of_tile, matrix_of<T>(tile.scores), key_rows(p, memory), first, memory.piece);
    sums.add(of_tile);
  });
  if (p.gradients.query) store_query_gradient(p, memory, first, sums);
  return partial;
}

template <class T>
TW_DEVICE void backward_query(const Backward& p) {
  auto& memory = shared_memory<BackwardMemory<T>>();
  const int64 parts = p.gradients.query ? parts_of(p.attention.shape.dim) : 1;
  for_each_query_tile(p.attention, memory.tile.head, parts, [&](Range rows, const Work& work) {
    const T partial = rows.empty() ? T(0) : find_query_gradient(p, memory, rows, work);
    if (!p.sums.slopes || work.part != 0) return;
    const T total = block_sum(partial, memory.piece);
    if (thread_index() == 0)
      static_cast<T*>(p.sums.slopes)[partial_place<T>(p.attention.shape, work)] = total;
  });
}

}  // namespace tilewise::cuda::plain
