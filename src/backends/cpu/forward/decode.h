// Forward in decoding: few queries and many keys. Keys and values are read in place, row by row,
// for all queries of a key head. A task takes several key heads if their rows are neighbours in
// memory.
#pragma once

#include <bit>

#include "backends/cpu/forward/output.h"

namespace tilewise::cpu {

// Scratch memory of a task: each of its key heads has a bundle of queries, and weights of its own.
template <class T>
struct DecodeScratch {
  DecodeScratch(const Problem& p, const Kernels<T>& kernels, const TaskGrid& grid, Arena& arena)
      : scores(p, kernels, arena),
        rows(p, kernels, grid, arena),
        queries(rows, grid.together, padded_lanes(grid), kernels.pitch, arena),
        step(decodes_one(p, grid, kernels) ? 1 : kernels.pitch) {
    value_list.at = arena.take<std::byte*>(grid.together * kernels.keys);
    weights = arena.take<T>(grid.together * weights_of_head(kernels));
    bundles = take_bundles(p, kernels, grid.together, arena);
    keys = arena.take<DecodeArgs<T>>(grid.together);
    values = arena.take<DecodeArgs<T>>(grid.together);
    copies = arena.take<T>(kRowsAtOnce * core::larger(rows.key_width, rows.value_width));
    sums = arena.take<T>(kDecode.queries * rows.value_width);
  }

  int64 weights_of_head(const Kernels<T>& kernels) const {
    return kernels.keys * core::larger(step, int64{2});
  }

  // Rows of queries that the kernels read: the next power of two.
  static int64 padded_lanes(const TaskGrid& grid) {
    return static_cast<int64>(std::bit_ceil(static_cast<uint64>(grid.lanes())));
  }

  ScoreScratch<T> scores;
  RowScratch<T> rows;
  QueryScratch<T> queries;
  int64 step;                   // from a key's scores to the next one's
  RowList value_list;           // [head][key], beside rows.list of keys
  Range listed;                 // the keys that rows.list has
  T* weights;                   // [head][key][lane]: scores, then weights
  Bundle<T>* bundles;           // [head]
  DecodeArgs<T>*keys, *values;  // [head]
  T *copies, *sums;             // see DecodeArgs
};

template <class T>
class ForwardDecode {
 public:
  using Scratch = DecodeScratch<T>;

  ForwardDecode(const Problem& problem, const Kernels<T>& kernels, const TaskGrid& grid,
                const Output<T>& output)
      : p_(problem),
        kernels_(kernels),
        grid_(grid),
        output_(output),
        one_(decodes_one(problem, grid, kernels)) {}

  // Runs a task: tiles n .. n + together - 1 of the queries over the keys of one split.
  void run(int64 n, int64 split, Scratch& s) const {
    const QueryTile tile = grid_.tile(p_, n);
    attend(tile, grid_.keys_of_split(split), s);
    for (int64 h = 0; h < grid_.together; ++h) {
      const QueryTile own = beside(tile, h);
      output_.finish({own, 0, own.lanes()}, (n + h) * grid_.split.count + split,
                     s.queries.running(h, s.rows.factor),
                     {s.queries.output_of(h), s.rows.value_width}, s.rows);
    }
  }

 private:
  // `tile`, moved on by h key heads.
  QueryTile beside(const QueryTile& tile, int64 h) const {
    return {tile.b, tile.first_head + h * p_.shape.group(), tile.heads, tile.rows};
  }

  // The bundle of head h. With one plain query a head, one bundle serves all heads.
  const Bundle<T>& bundle_of(int64 h, const Scratch& s) const { return s.bundles[one_ ? 0 : h]; }

  // Walks the keys of `split` for the queries of each key head.
  void attend(const QueryTile& tile, Range split, Scratch& s) const {
    for (int64 h = 0; h < grid_.together; ++h) begin(beside(tile, h), h, s);
    const Head<T> head(p_, tile.b, tile.first_head);
    const Range seen = head.band.keys_of(tile.rows);
    // With one query, keys hidden from that query are left out, so that no key needs a mask.
    const Range keys = one_ ? core::intersect(split, seen) : split;
    head.for_each_key_tile(tile.rows, kernels_.keys, [&](Range whole) {
      const Range columns = core::intersect(whole, keys);
      const Range next = core::intersect({whole.end, whole.end + kernels_.keys}, split);
      if (!columns.empty()) take(tile, columns, core::intersect(next, seen), s);
    });
  }

  // Prepares head h: the arguments that all its tiles of keys share, and its packed queries.
  void begin(const QueryTile& tile, int64 h, Scratch& s) const {
    const int64 key_head = tile.first_head / p_.shape.group();
    const auto args = [&](const View& view, const View& scaling, int64 dim, int64 pitch,
                          T* columns) {
      return DecodeArgs<T>{{nullptr, 0, dim, view.dtype},
                           factor_of<T>(scaling, tile.b, key_head),
                           is_copied(view, scaling, dim, kernels_),
                           tile.lanes(),
                           pitch,
                           columns,
                           s.weights + h * s.weights_of_head(kernels_),
                           s.step,
                           s.copies};
    };
    s.keys[h] = args(p_.key, p_.scaling.key, p_.shape.dim, s.rows.key_width, s.queries.query_of(h));
    s.values[h] = args(p_.value, p_.scaling.value, p_.shape.value_dim, s.rows.value_width, s.sums);
    if (h == 0 || !one_) s.bundles[h].place(p_, kernels_, tile, 0);
    load_query(tile, h, s);
    s.queries.reset(h);
  }

  void load_query(const QueryTile& tile, int64 h, Scratch& s) const {
    load_lanes(kernels_, s.rows.list.of_lanes(p_, p_.query, {tile, 0, tile.lanes()}, p_.shape.dim),
               factor_of<T>(p_.scaling.query, tile.b, tile.first_head / p_.shape.group()),
               {s.rows.row, s.rows.key_width}, Scratch::padded_lanes(grid_));
    kernels_.decode.pack(s.keys[h], s.rows.row);
  }

  // Takes a tile of keys for all heads. So that loads are always in flight, reading keys prefetches
  // the values, and reading values prefetches the keys of the `next` tile. If a task has only one
  // tile, reading its keys prefetches nothing: the task is over too soon to gain by it.
  void take(const QueryTile& tile, Range columns, Range next, Scratch& s) const {
    const Place place = place_of(p_.keys, tile.b);
    const bool is_only = next.empty() && s.listed.empty();
    const auto key_head = [&](int64 h) {
      return KeyHead{p_.keys, place, tile.first_head / p_.shape.group() + h};
    };
    for (int64 h = 0; h < grid_.together; ++h) {
      const RowList keys{s.rows.list.at + h * kernels_.keys};
      const RowList values{s.value_list.at + h * kernels_.keys};
      if (s.listed != columns) keys.of_keys(p_.key, key_head(h), columns, p_.shape.dim);
      s.keys[h].rows = {keys.at, columns.size(), p_.shape.dim, p_.key.dtype};
      s.values[h].rows = values.of_keys(p_.value, key_head(h), columns, p_.shape.value_dim);
      s.keys[h].prefetch = {values.at, is_only ? 0 : columns.size(),
                            p_.shape.value_dim * core::bytes_of(p_.value.dtype)};
    }
    kernels_.decode.score({s.keys, grid_.together});
    for (int64 h = 0; h < grid_.together; ++h) {
      const RowList keys{s.rows.list.at + h * kernels_.keys};
      keys.of_keys(p_.key, key_head(h), next, p_.shape.dim);
      s.values[h].prefetch = {keys.at, next.size(), p_.shape.dim * core::bytes_of(p_.key.dtype)};
      take_values(beside(tile, h), h, columns, s);
    }
    s.listed = next;
  }

  // Makes weights of head h's scores, and adds the weighted values to its output.
  void take_values(const QueryTile& tile, int64 h, Range columns, Scratch& s) const {
    const Scorer<T> scorer(p_, kernels_, s.scores);
    const Bundle<T>& bundle = bundle_of(h, s);
    const DecodeArgs<T>& values = s.values[h];
    const RunningRows<T> running = s.queries.running(h, s.rows.factor);
    const ScoreTile<T> scores{values.scores, columns.size(), bundle.vectors};
    if (one_) {
      kernels_.decode.raise_one(scorer.of_one(scores.data, scores.keys, running));
    } else {
      const T* unit = scorer.score_decoded(tile, bundle, columns, scores.data);
      kernels_.decode.raise(
          {scores, s.scores.largest, unit, running, scorer.keep(tile, bundle, columns)});
    }
    kernels_.decode.accumulate(values, running.factor, s.queries.output_of(h));
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  const TaskGrid& grid_;
  const Output<T>& output_;
  bool one_;  // see decodes_one
};

}  // namespace tilewise::cpu
