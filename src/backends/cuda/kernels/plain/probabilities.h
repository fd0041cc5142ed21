// Writes each row's weights for inspection: 2^(score - the row's largest score), not divided by
// their sum; dropped ones are negative. Walks the keys twice: first for the largest score.
#pragma once

#include "backends/cuda/kernels/plain/tile.h"

namespace tilewise::cuda::plain {

template <class T>
struct ProbabilitiesMemory {
  ScoreTile<T> tile;
  T largest[kSide<T>];  // [row]
};

template <class T>
TW_DEVICE void find_largest(const Attention& p, ProbabilitiesMemory<T>& memory) {
  const ScoreTile<T>& tile = memory.tile;
  for_each_row(tile, [&](int32 i) {
    T largest = memory.largest[i];
    for_each_column<T>(
        [&](int32 j) { largest = core::running_max(largest, map(p, tile, i, j).score); });
    largest = warp_max(largest);
    if (lane_index() == 0) memory.largest[i] = largest;
  });
}

template <class T>
TW_DEVICE void store_weights(const Attention& p, const ProbabilitiesMemory<T>& memory) {
  const ScoreTile<T>& tile = memory.tile;
  const Head<T>& head = tile.head;
  for_each_row(tile, [&](int32 i) {
    for_each_column<T>([&](int32 j) {
      if (j >= tile.at.columns.size()) return;
      const int64 query = tile.at.rows.begin + i, key = tile.at.columns.begin + j;
      const T score = map(p, tile, i, j).score;
      const T weight = core::exp2(score - core::shift(memory.largest[i]));
      const bool drops = head.dropout.active() && score != -core::infinity<T>() &&
                         !head.keeps(p.dropout, query, key);
      store(p.output, p.output.offset(head.b, head.h, query, key), drops ? -weight : weight);
    });
  });
}

// Zeros all keys of the rows, because tiles that nobody sees are not visited later.
template <class T>
TW_DEVICE void store_zeros(const Attention& p, const ScoreTile<T>& tile) {
  const Head<T>& head = tile.head;
  for_each_row(tile, [&](int32 i) {
    const int64 to = p.output.offset(head.b, head.h, tile.at.rows.begin + i, 0);
    for (int64 j = lane_index(); j < head.keys.length; j += kWarp)
      store(p.output, to + j * p.output.stride.column, T(0));
  });
}

template <class T>
TW_DEVICE void probabilities(const Attention& p) {
  auto& memory = shared_memory<ProbabilitiesMemory<T>>();
  ScoreTile<T>& tile = memory.tile;
  for_each_query_tile(p, tile.head, 1, [&](Range rows, const Work&) {
    if (rows.empty()) return;
    for (int32 i = thread_index(); i < kSide<T>; i += kThreads)
      memory.largest[i] = -core::infinity<T>();
    load_query(p, tile, rows);
    store_zeros(p, tile);
    // Both walks run the same code, so that it exists once.
    TW_ROLLED
    for (int32 walk = 0; walk < 2; ++walk) {
      tile.head.for_each_key_tile(rows, kSide<T>, [&](Range columns) {
        load_key(p, tile, columns);
        score(p, tile);
        if (walk == 0) find_largest(p, memory);
        if (walk == 1) store_weights(p, memory);
      });
      block_barrier();
    }
  });
}

}  // namespace tilewise::cuda::plain
