// Finishes the rows of a forward task: divides them by their sums and stores them with lse; or,
// with split keys, keeps them as parts and merges the parts in order of the keys.
#pragma once

#include <algorithm>

#include "backends/cpu/forward/task_grid.h"
#include "backends/cpu/rows.h"

namespace tilewise::cpu {

// The parts of split keys: each split's unnormalised rows of output, and their running rows.
template <class T>
struct Parts {
  void take(const Problem& p, const TaskGrid& grid, Arena& arena) {
    if (grid.split.count == 1) return;
    const int64 lanes = grid.tiles() * grid.lanes();
    output = arena.take<T>(lanes * grid.split.count * p.shape.value_dim);
    row = arena.take<core::Row<T>>(lanes * grid.split.count);
  }

  T* output = nullptr;          // [tile][split][lane][value_dim]
  core::Row<T>* row = nullptr;  // [tile][split][lane]
};

// Scratch memory for rows that are loaded or stored.
template <class T>
struct RowScratch {
  RowScratch(const Problem& p, const Kernels<T>& kernels, const TaskGrid& grid, Arena& arena)
      : key_width(core::round_up(p.shape.dim, kernels.lanes)),
        value_width(core::round_up(p.shape.value_dim, decodes(grid, kernels)
                                                          ? kernels.lanes
                                                          : core::larger(kernels.lanes, kPanel))) {
    list.at = arena.take<std::byte*>(core::larger(grid.together * kernels.keys, kernels.pitch));
    row = arena.take<T>(kernels.pitch * core::larger(key_width, value_width));
    factor = arena.take<T>(kernels.pitch);
  }

  int64 key_width, value_width;  // in whole vectors
  RowList list;
  T* row;     // [lane][dim]
  T* factor;  // [lane]
};

// What queries keep between tiles of keys, by bundle: query, running rows, unnormalised output.
template <class T>
struct QueryScratch {
  QueryScratch(const RowScratch<T>& rows, int64 bundles, int64 lanes, int64 lane_pitch,
               Arena& arena)
      : query_size(rows.key_width * lanes),
        output_size(rows.value_width * lanes),
        pitch(lane_pitch) {
    query = arena.take<T>(bundles * query_size);
    output = arena.take<T>(bundles * output_size);
    max = arena.take<T>(bundles * pitch);
    sum = arena.take<T>(bundles * pitch);
  }

  // Resets bundle n to the state before any key.
  void reset(int64 n) const {
    for (int64 lane = 0; lane < pitch; ++lane) {
      max[n * pitch + lane] = -core::infinity<T>();
      sum[n * pitch + lane] = 0;
    }
    std::fill(output_of(n), output_of(n) + output_size, T(0));
  }

  T* query_of(int64 n) const { return query + n * query_size; }
  T* output_of(int64 n) const { return output + n * output_size; }
  RunningRows<T> running(int64 n, T* factor) const {
    return {max + n * pitch, sum + n * pitch, factor};
  }

  int64 query_size, output_size, pitch;
  T *query, *output;  // [bundle][dim][lane]; when decoding, in DecodeSteps' layout
  T *max, *sum;       // [bundle][lane]
};

template <class T>
class Output {
 public:
  Output(const Problem& problem, const Kernels<T>& kernels, const TaskGrid& grid,
         const Parts<T>& parts)
      : p_(problem), kernels_(kernels), grid_(grid), parts_(parts) {}

  // Finishes lanes of a tile whose weighted sums of values are in `rows`: stores them in the
  // output, or, with split keys, in part `part`.
  void finish(const LaneSpan& lanes, int64 part, const RunningRows<T>& running,
              Matrix<const T> rows, RowScratch<T>& s) const {
    if (grid_.split.count == 1) {
      for (int64 n = 0; n < lanes.count; ++n)
        s.factor[n] = finish_row(lanes.tile, lanes.first + n, {running.max[n], running.sum[n]});
      return store(lanes, rows, s);
    }
    const int64 to = part * grid_.lanes() + lanes.first, dim = p_.shape.value_dim;
    for (int64 n = 0; n < lanes.count; ++n) {
      parts_.row[to + n] = {running.max[n], running.sum[n]};
      for (int64 c = 0; c < dim; ++c)
        parts_.output[(to + n) * dim + c] = rows.data[n * rows.pitch + c];
    }
  }

  // Merges the parts of one lane of tile n and stores its output.
  void merge(const QueryTile& tile, int64 n, int64 lane, RowScratch<T>& s) const {
    const int64 dim = p_.shape.value_dim, splits = grid_.split.count;
    const auto part = [&](int64 split) { return (n * splits + split) * grid_.lanes() + lane; };
    core::Row<T> seen;
    for (int64 split = 0; split < splits; ++split)
      seen = core::merge(seen, parts_.row[part(split)]);
    for (int64 c = 0; c < dim; ++c) s.row[c] = 0;
    for (int64 split = 0; split < splits; ++split) {
      const core::Row<T> row = parts_.row[part(split)];
      if (row.sum == 0) continue;
      const T weight = core::exp2(row.max - core::shift(seen.max));
      const T* from = parts_.output + part(split) * dim;
      for (int64 c = 0; c < dim; ++c) s.row[c] += weight * from[c];
    }
    s.factor[0] = finish_row(tile, lane, seen);
    store({tile, lane, 1}, {s.row, s.value_width}, s);
  }

 private:
  // Stores a row's lse. Returns the factor that turns its weighted sum of values into the output.
  T finish_row(const QueryTile& tile, int64 lane, core::Row<T> seen) const {
    const int64 head = tile.head(lane);
    const T sink = sink_of<T>(p_, head);
    const bool plain = sink == -core::infinity<T>();
    const core::Row<T> row = plain ? seen : core::merge(seen, core::row_of(sink));
    if (p_.lse) {
      const int64 to =
          row_of(p_.queries, p_.lse, place_of(p_.queries, tile.b), head, tile.row(lane));
      // If the row saw no key, lse is the sink, to the bit.
      tilewise::store(p_.lse, to, seen.sum == 0 ? sink : core::lse(row));
    }
    // A row with neither keys nor a sink has sum 0, and output 0.
    if (row.sum == 0) return 0;
    return (plain ? T(1) : core::exp2(seen.max - core::shift(row.max))) / row.sum;
  }

  // Stores rows, each times its s.factor, in the output.
  void store(const LaneSpan& lanes, Matrix<const T> rows, RowScratch<T>& s) const {
    store_lanes(kernels_, s.list.of_lanes(p_, p_.output, lanes, p_.shape.value_dim), s.factor,
                rows);
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  const TaskGrid& grid_;
  const Parts<T>& parts_;
};

}  // namespace tilewise::cpu
