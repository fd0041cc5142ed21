// The first backward pass: computes each row's denominator and delta, and each tile's part of the
// sink's gradient. A block has a tile of queries of one head.
#pragma once

#include "backends/cuda/kernels/plain/backward_tile.h"

namespace tilewise::cuda::plain {

template <class T>
struct RowsMemory {
  ScoreTile<T> tile;
  core::Row<T> own[kSide<T>];  // denominators recomputed from the row's own keys and sink
  T given[kSide<T>];           // the caller's lse
  T partial[kSide<T>];         // of the sink's gradient
  core::Row<T> denominator[kSide<T>];
  int32 coarse;  // whether some row's lse is coarse
};

// Whether lse is so large that its rounding error changes weights noticeably, by more than 2^-13.
TW_DEVICE bool is_coarse(const Tensor& lse, double given) {
  const double place = lse.dtype == DType::kFloat64 ? 0x1p-52 : 0x1p-23;
  return core::absolute(given) * place > 0x1p-13 &&
         core::absolute(given) < core::infinity<double>();
}

template <class T>
TW_DEVICE Spot query_spot(const Backward& p, const ScoreTile<T>& tile, int32 i) {
  uint32 faults = 0;
  return spot_of(p.attention.queries, tile.head.queries, tile.at.rows.begin + i, faults);
}

template <class T>
TW_DEVICE void load_lse(const Backward& p, RowsMemory<T>& memory) {
  const Attention& a = p.attention;
  const ScoreTile<T>& tile = memory.tile;
  const core::Row<T> sink = core::row_of(tile.head.sink(a.scores.sinks));
  if (thread_index() == 0) memory.coarse = 0;
  block_barrier();
  for (int32 i = thread_index(); i < tile.at.rows.size(); i += kThreads) {
    memory.given[i] = load_wide<T>(a.lse, query_spot(p, tile, i).in(a.lse, tile.head.h));
    memory.denominator[i] = core::row_of(memory.given[i]);
    memory.own[i] = sink;
    // Several threads may write this, all the same value.
    if (is_coarse(a.lse, memory.given[i])) memory.coarse = 1;
  }
  block_barrier();
}

// Adds the keys of a tile to memory.own, each row's recomputed denominator.
template <class T>
TW_DEVICE void sum_rows(const Attention& p, RowsMemory<T>& memory) {
  ScoreTile<T>& tile = memory.tile;
  for_each_row(tile, [&](int32 i) {
    T* scores = tile.scores + i * (kSide<T> + 1);
    core::Row<T> seen;
    for_each_column<T>([&](int32 j) {
      scores[j] = map(p, tile, i, j).score;
      seen.max = core::running_max(seen.max, scores[j]);
    });
    seen.max = warp_max(seen.max);
    for_each_column<T>([&](int32 j) { seen.sum += core::exp2(scores[j] - core::shift(seen.max)); });
    seen.sum = warp_sum(seen.sum);
    if (lane_index() == 0) memory.own[i] = merge(memory.own[i], seen);
  });
}

// Finds each row's denominator, from the caller's lse. A coarse lse (is_coarse) does not say how
// many keys share its value: with 40 keys that all score -1e9, log 40 is below the resolution of
// float32. So a tile with a coarse lse recomputes the denominators from its rows' keys and the
// sink, and uses those that agree with a coarse lse. A coarse lse that disagrees may be that of
// more keys than this call has, and is used as given.
template <class T>
TW_DEVICE void find_denominators(const Backward& p, RowsMemory<T>& memory) {
  const Attention& a = p.attention;
  ScoreTile<T>& tile = memory.tile;
  load_lse(p, memory);
  if (memory.coarse == 0) return;
  tile.head.for_each_key_tile(tile.at.rows, kSide<T>, [&](Range columns) {
    load_key(a, tile, columns);
    score(a, tile);
    sum_rows(a, memory);
  });
  block_barrier();
  for (int32 i = thread_index(); i < tile.at.rows.size(); i += kThreads) {
    const T given = memory.given[i];
    const T difference = core::absolute(core::lse(memory.own[i]) - given);
    const T place = core::absolute(given) * T(a.lse.dtype == DType::kFloat64 ? 0x1p-51 : 0x1p-22);
    if (is_coarse(a.lse, given) && difference <= place) memory.denominator[i] = memory.own[i];
  }
  block_barrier();
}

// Delta of row i; all lanes of the warp return it.
template <class T>
TW_DEVICE T delta_of(const Backward& p, const ScoreTile<T>& tile, int32 i) {
  const Attention& a = p.attention;
  const Tensor &incoming = p.gradients.output, &through_lse = p.gradients.lse;
  const int64 h = tile.head.h;
  const T factor = tile.head.factor(a.scaling.output_gradient);
  const Spot spot = query_spot(p, tile, i);
  const int64 output = spot.in(a.output, h), gradient = spot.in(incoming, h);
  T sum = 0;
  for (int64 c = lane_index(); c < a.shape.value_dim; c += kWarp)
    sum += load<T>(a.output, output + c) * load<T>(incoming, gradient + c) * factor;
  sum = warp_sum(sum);
  return through_lse ? sum - load_wide<T>(through_lse, spot.in(through_lse, h)) : sum;
}

// Stores what later passes need of each row, and keeps the row's part of the sink's gradient.
template <class T>
TW_DEVICE void store_known(const Backward& p, RowsMemory<T>& memory) {
  const ScoreTile<T>& tile = memory.tile;
  const core::Row<T> sink = core::row_of(tile.head.sink(p.attention.scores.sinks));
  KnownRow<T>* known = known_rows(p, tile.head) + tile.at.rows.begin;
  for_each_row(tile, [&](int32 i) {
    const T delta = delta_of(p, tile, i);
    if (lane_index() != 0) return;
    known[i] = {delta, memory.denominator[i]};
    memory.partial[i] = sink.sum == 0 ? T(0) : -weight_in(memory.denominator[i], sink.max) * delta;
  });
  block_barrier();
}

// Stores the tile's part of the sink's gradient: 0 if the sequence has no rows in the tile.
template <class T>
TW_DEVICE void store_partial_sink(const Backward& p, const RowsMemory<T>& memory, int64 rows,
                                  int64 place) {
  if (thread_index() != 0 || !p.sums.sinks) return;
  T partial = 0;
  for (int32 i = 0; i < rows; ++i) partial += memory.partial[i];
  static_cast<T*>(p.sums.sinks)[place] = partial;
}

// The index of a tile's partial gradient of a slope or sink.
template <class T>
TW_DEVICE int64 partial_place(const Shape& shape, const Work& work) {
  return (work.b * shape.heads + work.h) * query_tiles<T>(shape) + work.tile;
}

template <class T>
TW_DEVICE void backward_rows(const Backward& p) {
  auto& memory = shared_memory<RowsMemory<T>>();
  ScoreTile<T>& tile = memory.tile;
  for_each_query_tile(p.attention, tile.head, 1, [&](Range rows, const Work& work) {
    if (!rows.empty()) {
      load_query(p.attention, tile, rows);
      find_denominators(p, memory);
      store_known(p, memory);
    }
    store_partial_sink(p, memory, rows.size(), partial_place<T>(p.attention.shape, work));
  });
}

}  // namespace tilewise::cuda::plain
