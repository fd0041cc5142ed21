// The backward pass for the gradients of keys and values. A block has a tile of keys and kWidth
// columns of one of the two gradients. It walks the queries that see these keys, of all heads of
// the group. No other block adds to its sums, so there are no atomics.
#pragma once

#include "backends/cuda/kernels/plain/backward_tile.h"

namespace tilewise::cuda::plain {

// The columns that a block sums, from `first` on.
struct KeyPart {
  bool of_value;
  int64 first;
};

// Adds what one query head contributes to the gradient of the tile's keys or values.
template <class T>
TW_DEVICE void add_key_gradient(const Backward& p, BackwardMemory<T>& memory, Range columns,
                                KeyPart part, SumRegisters<T>& sums) {
  ScoreTile<T>& tile = memory.tile;
  load_key(p.attention, tile, columns);
  tile.head.for_each_query_tile(columns, kSide<T>, [&](Range rows) {
    load_rows(p, memory, rows);
    differentiate(p, memory, part.of_value ? Wants::kWeights : Wants::kGradient);
    const Square<T>& weights = part.of_value ? tile.gradient : tile.scores;
    SumRegisters<T> of_tile;
    of_tile.clear();
    add_weighted(of_tile, transposed(matrix_of<T>(weights)),
                 part.of_value ? output_gradient_rows(p, memory) : query_rows(p, memory),
                 part.first, memory.piece);
    sums.add(of_tile);
  });
}

template <class T>
TW_DEVICE void store_key_gradient(const Backward& p, BackwardMemory<T>& memory, KeyPart part,
                                  const SumRegisters<T>& sums) {
  const Attention& a = p.attention;
  ScoreTile<T>& tile = memory.tile;
  const Tensor& to = part.of_value ? p.gradients.value : p.gradients.key;
  block_barrier();
  const auto rows = static_cast<int32>(tile.at.columns.size());
  for (int32 j = thread_index(); j < rows; j += kThreads) {
    uint32 faults = 0;
    const Spot spot = spot_of(a.keys, tile.head.keys, tile.at.columns.begin + j, faults);
    tile.at.key[j] = spot.in(to, tile.head.key_head);
  }
  const T scale = part.of_value ? T(1) : static_cast<T>(a.scores.scale);
  const int64 dim = part.of_value ? a.shape.value_dim : a.shape.dim;
  store_sums(Written<T>{to, tile.at.key, part.first, dim, rows}, sums, tile.sums,
             [scale](int32) { return scale; });
}

template <class T>
TW_DEVICE void find_key_gradient(const Backward& p, BackwardMemory<T>& memory, const Work& work,
                                 KeyPart part) {
  const int64 group = p.attention.shape.heads / p.attention.shape.key_heads;
  Head<T>& head = memory.tile.head;
  SumRegisters<T> sums;
  sums.clear();
  for (int64 g = 0; g < group; ++g) {
    head.enter(p.attention, work.b, work.h * group + g);
    const Range columns = tile_range(work.tile, kSide<T>, head.keys.length);
    if (columns.empty()) return;
    add_key_gradient(p, memory, columns, part, sums);
  }
  store_key_gradient(p, memory, part, sums);
}

template <class T>
TW_DEVICE void backward_keys(const Backward& p) {
  auto& memory = shared_memory<BackwardMemory<T>>();
  const Shape& shape = p.attention.shape;
  const int64 tiles = core::ceil_div(shape.keys, kSide<T>), of_key = key_parts(p);
  for_each_task(key_gradient_tasks<T>(p), [&](int64 task) {
    const Work work = work_at(task, shape.key_heads, tiles, of_key + value_parts(p));
    const bool of_value = work.part >= of_key;
    find_key_gradient(p, memory, work,
                      {of_value, (of_value ? work.part - of_key : work.part) * kWidth});
  });
}

}  // namespace tilewise::cuda::plain
