// The tiled algorithm without tensor cores: for a tile of queries, walk the keys tile by tile;
// score, mask, raise the running row, accumulate; divide at the end. A block has a tile of queries
// of one head and kWidth columns of its output. Blocks of other columns compute the same scores
// again.
#pragma once

#include "backends/cuda/kernels/plain/tile.h"

namespace tilewise::cuda::plain {

template <class T>
struct ForwardMemory {
  ScoreTile<T> tile;
  T value[kChunk * (kWidth + 1)];
  core::Row<T> row[kSide<T>];
  T factor[kSide<T>];
};

template <class T>
TW_DEVICE T drop(const Attention& p, const ScoreTile<T>& tile, T weight, int64 i, int64 j) {
  const Head<T>& head = tile.head;
  if (!head.dropout.active()) return weight;
  const bool keeps = head.keeps(p.dropout, tile.at.rows.begin + i, tile.at.columns.begin + j);
  return keeps ? weight * static_cast<T>(head.dropout.scale()) : T(0);
}

// Turns scores into weights relative to the row's maximum so far. `factor` receives what rescales
// the output accumulated before.
template <class T>
TW_DEVICE void raise(const Attention& p, ForwardMemory<T>& memory) {
  ScoreTile<T>& tile = memory.tile;
  for_each_row(tile, [&](int32 i) {
    T* scores = tile.scores + i * (kSide<T> + 1);
    T largest = -core::infinity<T>(), sum = 0;
    for_each_column<T>([&](int32 j) {
      scores[j] = map(p, tile, i, j).score;
      largest = core::running_max(largest, scores[j]);
    });
    core::Row<T> row = memory.row[i];
    const T factor = core::raise(row, warp_max(largest));
    for_each_column<T>([&](int32 j) {
      const T weight = core::exp2(scores[j] - core::shift(row.max));
      sum += weight;
      scores[j] = drop(p, tile, weight, i, j);
    });
    row.sum += warp_sum(sum);
    if (lane_index() == 0) memory.row[i] = row;
    if (lane_index() == 0) memory.factor[i] = factor;
  });
}

// output = factor * output + weights * value. Each tile is summed on its own and then added, so
// that rounding errors add up over tiles and not over all keys.
template <class T>
TW_DEVICE void accumulate(const Attention& p, ForwardMemory<T>& memory, int64 first,
                          SumRegisters<T>& output) {
  const ScoreTile<T>& tile = memory.tile;
  SumRegisters<T> of_tile;
  of_tile.clear();
  const T factor = tile.head.factor(p.scaling.value);
  const Rows<T> value{p.value, tile.at.value, p.shape.value_dim, factor};
  add_weighted(of_tile, matrix_of<T>(tile.scores), value, first, memory.value);
  output.each([&](int32 i, int32 j, int32 row, int32) {
    output.at[i][j] = output.at[i][j] * memory.factor[row] + of_tile.at[i][j];
  });
}

// Divides the output by the row's sum and stores it. The block of the first columns also stores the
// lse.
template <class T>
TW_DEVICE void finish(const Attention& p, ForwardMemory<T>& memory, int64 first,
                      SumRegisters<T>& output) {
  ScoreTile<T>& tile = memory.tile;
  const Head<T>& head = tile.head;
  block_barrier();
  const auto rows = static_cast<int32>(tile.at.rows.size());
  for (int32 i = thread_index(); i < rows; i += kThreads) {
    uint32 faults = 0;
    const T sink = head.sink(p.scores.sinks);
    const core::Row<T> seen = memory.row[i], row = merge(seen, core::row_of(sink));
    // A row that saw nothing has sum 0, and output 0.
    memory.factor[i] = row.sum == 0 ? T(0) : core::exp2(seen.max - core::shift(row.max)) / row.sum;
    const Spot spot = spot_of(p.queries, head.queries, tile.at.rows.begin + i, faults);
    tile.at.query[i] = spot.in(p.output, head.h);
    // If the sink is all there is, lse equals it exactly.
    if (p.lse && first == 0 && spot.batch >= 0)
      store(p.lse, spot.in(p.lse, head.h), seen.sum == 0 ? sink : core::lse(row));
  }
  const Written<T> to{p.output, tile.at.query, first, p.shape.value_dim, rows};
  store_sums(to, output, tile.sums, [&](int32 row) { return memory.factor[row]; });
}

template <class T>
TW_DEVICE void run_tile(const Attention& p, ForwardMemory<T>& memory, Range rows, int64 first) {
  ScoreTile<T>& tile = memory.tile;
  SumRegisters<T> output;
  output.clear();
  for (int32 i = thread_index(); i < kSide<T>; i += kThreads) memory.row[i] = {};
  load_query(p, tile, rows);
  tile.head.for_each_key_tile(rows, kSide<T>, [&](Range columns) {
    load_key(p, tile, columns);
    score(p, tile);
    raise(p, memory);
    accumulate(p, memory, first, output);
  });
  finish(p, memory, first, output);
}

template <class T>
TW_DEVICE void forward(const Attention& p) {
  auto& memory = shared_memory<ForwardMemory<T>>();
  const auto run = [&](Range rows, const Work& work) {
    if (!rows.empty()) run_tile(p, memory, rows, work.part * kWidth);
  };
  for_each_query_tile(p, memory.tile.head, parts_of(p.shape.value_dim), run);
}

}  // namespace tilewise::cuda::plain
