// Forward by tiles: a task takes a tile of queries and walks its keys, tile by tile: score, mask,
// raise, accumulate.
#pragma once

#include "backends/cpu/forward/output.h"

namespace tilewise::cpu {

template <class T>
struct TileScratch {
  TileScratch(const Problem& p, const Kernels<T>& kernels, const TaskGrid& grid, Arena& arena)
      : scores(p, kernels, arena),
        rows(p, kernels, grid, arena),
        queries(rows, grid.bundles, kernels.pitch, kernels.pitch, arena) {
    next.at = arena.take<std::byte*>(2 * kernels.keys);
    weights = arena.take<T>(kernels.keys * kernels.pitch);
    ends = arena.take<int64>(kernels.pitch / kernels.lanes);
    bundles = take_bundles(p, kernels, grid.bundles, arena);
    key = arena.take<T>((kernels.keys + kKeysBeyond) * rows.key_width);
    value = arena.take<T>((kernels.keys + kKeysBeyond) * rows.value_width);
  }

  ScoreScratch<T> scores;
  RowScratch<T> rows;
  QueryScratch<T> queries;
  Bundle<T>* bundles;
  RowList next;  // keys and values of the next tile
  T* key;        // [key][dim], unless keys are used where they lie
  T* value;      // panels
  T* weights;    // [key][lane], of the current bundle: scores, then weights
  int64* ends;   // [vector], of the current bundle
};

template <class T>
class ForwardTiles {
 public:
  using Scratch = TileScratch<T>;

  ForwardTiles(const Problem& problem, const Kernels<T>& kernels, const TaskGrid& grid,
               const Output<T>& output)
      : p_(problem), kernels_(kernels), grid_(grid), output_(output) {}

  // Runs a task: tile n of the queries over the keys of one split.
  void run(int64 n, int64 split, Scratch& s) const {
    const QueryTile tile = grid_.tile(p_, n);
    attend(tile, grid_.keys_of_split(split), s);
    finish(tile, n * grid_.split.count + split, s);
  }

 private:
  // Keys that a panel of values (kPanel columns) has room for. If this were a power of two, like
  // kernels_.keys, a key's rows in all panels would fall into the same set of the cache.
  int64 panel_keys() const { return kernels_.keys + 2; }

  // Prepares bundle n: the lanes of the tile from `first` on.
  void begin(const QueryTile& tile, int64 first, int64 n, Scratch& s) const {
    s.bundles[n].place(p_, kernels_, tile, first);
    load_query(tile, n, s);
    s.queries.reset(n);
  }

  void load_query(const QueryTile& tile, int64 n, Scratch& s) const {
    const Bundle<T>& bundle = s.bundles[n];
    const int64 width = s.rows.key_width;
    load_operand(
        kernels_,
        s.rows.list.of_lanes(p_, p_.query, {tile, bundle.first, bundle.count}, p_.shape.dim),
        factor_of<T>(p_.scaling.query, tile.b, tile.first_head / p_.shape.group()),
        {s.rows.row, width}, bundle.vectors * kernels_.lanes);
    kernels_.rows.to_lanes({s.rows.row, width}, width, bundle.vectors, s.queries.query_of(n));
  }

  // The keys to score: in place if `score` can read them there, else a copy.
  Matrix<const T> load_keys(const KeyHead& head, Range columns, Scratch& s) const {
    const Matrix<const T> there = keys_in_place(p_, kernels_, head, columns);
    if (there.data) return there;
    load_operand(kernels_, s.rows.list.of_keys(p_.key, head, columns, p_.shape.dim),
                 factor_of<T>(p_.scaling.key, head.place.sequence, head.head),
                 {s.key, s.rows.key_width}, columns.size() + kKeysBeyond);
    return {s.key, s.rows.key_width};
  }

  void load_values(const KeyHead& head, Range columns, Scratch& s) const {
    kernels_.rows.load_panels(s.rows.list.of_keys(p_.value, head, columns, p_.shape.value_dim),
                              factor_of<T>(p_.scaling.value, head.place.sequence, head.head),
                              s.value, panel_keys(), s.rows.row);
  }

  // Walks the keys of `split` for all bundles of the tile.
  void attend(const QueryTile& tile, Range split, Scratch& s) const {
    const int64 bundles = core::ceil_div(tile.lanes(), kernels_.pitch);
    for (int64 n = 0; n < bundles; ++n) begin(tile, n * kernels_.pitch, n, s);
    const Head<T> head(p_, tile.b, tile.first_head);
    const KeyHead of{p_.keys, head.keys, head.key_head};
    const int64 last = core::smaller(head.band.keys_of(tile.rows).end, split.end);
    head.for_each_key_tile(tile.rows, kernels_.keys, [&](Range whole) {
      const Range columns = core::intersect(whole, split);
      if (columns.empty()) return;
      const Matrix<const T> keys = load_keys(of, columns, s);
      load_values(of, columns, s);
      const Range next{whole.end, core::smaller(whole.end + kernels_.keys, last)};
      const Prefetch prefetch = next_rows(of, next, s);
      for (int64 n = 0; n < bundles; ++n) {
        // A bundle's range begins at a multiple of kRowStep, counted from the tile's first key.
        Range seen = core::intersect(columns, s.bundles[n].seen);
        seen.begin = columns.begin + (seen.begin - columns.begin) / kRowStep * kRowStep;
        if (seen.empty()) continue;
        const int64 skipped = seen.begin - columns.begin;
        const Matrix<const T> rows{keys.data + skipped * keys.pitch, keys.pitch};
        s.bundles[n].find_ends(kernels_, seen, s.ends);
        take(tile, n, skipped, {seen, rows, prefetch.part(n, bundles), s.ends}, s);
      }
    });
  }

  // The rows of keys and values of the next tile, `columns`.
  Prefetch next_rows(const KeyHead& of, Range columns, const Scratch& s) const {
    if (columns.empty()) return {};
    const RowList values{s.next.at + columns.size()};
    s.next.of_keys(p_.key, of, columns, p_.shape.dim);
    values.of_keys(p_.value, of, columns, p_.shape.value_dim);
    return {s.next.at, 2 * columns.size(),
            core::larger(p_.shape.dim, p_.shape.value_dim) * core::bytes_of(p_.key.dtype)};
  }

  // Takes the keys of a tile that bundle n sees; the tile's first `skipped` keys are left out.
  void take(const QueryTile& tile, int64 n, int64 skipped, const KeysAt<T>& keys,
            Scratch& s) const {
    const Scorer<T> scorer(p_, kernels_, s.scores);
    const Bundle<T>& bundle = s.bundles[n];
    const T* query = s.queries.query_of(n);
    const T* unit = scorer.score(tile, bundle, query, keys, s.weights);
    const ScoreTile<T> weights{s.weights, keys.columns.size(), bundle.vectors, keys.ends};
    const RunningRows<T> running = s.queries.running(n, s.rows.factor);
    kernels_.forward.raise(
        {weights, s.scores.largest, unit, running, scorer.keep(tile, bundle, keys.columns)});
    kernels_.forward.accumulate({s.value, panel_keys(), core::round_up(p_.shape.value_dim, kPanel),
                                 skipped, weights, running.factor, s.queries.output_of(n)});
  }

  void finish(const QueryTile& tile, int64 part, Scratch& s) const {
    const Matrix<T> rows{s.rows.row, s.rows.value_width};
    for (int64 n = 0; n * kernels_.pitch < tile.lanes(); ++n) {
      const int64 first = n * kernels_.pitch;
      const int64 count = core::smaller(kernels_.pitch, tile.lanes() - first);
      kernels_.rows.from_lanes(s.queries.output_of(n), rows.pitch,
                               core::ceil_div(count, kernels_.lanes), rows);
      output_.finish({tile, first, count}, part, s.queries.running(n, s.rows.factor),
                     {rows.data, rows.pitch}, s.rows);
    }
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  const TaskGrid& grid_;
  const Output<T>& output_;
};

}  // namespace tilewise::cpu
