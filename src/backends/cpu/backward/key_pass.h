// Backward's pass over keys. A task owns a range of keys, walks the queries of all heads that share
// them, and alone sums the gradients of its keys and values. Tasks add to a query's gradient in
// turns, in the order of their keys, so the order of that sum does not depend on threads. A task
// walks the tiles of queries from the last to the first: under a causal mask the last tile sees all
// keys that any tile sees, so all tasks can start there. A tile takes five products.
#pragma once

#include <atomic>
#include <thread>

#include "backends/cpu/backward/key_scratch.h"
#include "backends/cpu/backward/passes.h"

namespace tilewise::cpu {

// Tiles of keys in a task's range: up to kKeyTasks.enough, but few enough that each worker gets
// kKeyTasks.tasks tasks; up to most_of() if each still gets larger_tasks. The number changes no bit
// of a result.
template <class T>
int64 task_tiles_of(const Shape& s, int workers) {
  const int64 heads = core::larger(int64{1}, s.batch * s.key_heads);
  const int64 tiles = core::ceil_div(s.keys, kKeys);
  const int64 tile_bytes = 2 * kKeys * (s.dim + s.value_dim) * static_cast<int64>(sizeof(T));
  const auto tiles_of = [&](int64 most, int64 tasks) {
    return core::smaller(most, tiles / core::ceil_div(tasks * workers, heads));
  };
  const int64 enough = tiles_of(kKeyTasks.enough, kKeyTasks.tasks);
  const int64 more = tiles_of(kKeyTasks.most_of(tile_bytes), kKeyTasks.larger_tasks);
  return core::larger(int64{1}, core::larger(enough, more));
}

template <class T>
class KeyPass {
 public:
  KeyPass(const Problem& p, const Kernels<T>& kernels, const RowSums<T>& sums, Arena& arena,
          int64 task_tiles)
      : p_(p), kernels_(kernels), sums_(sums), task_tiles_(task_tiles) {
    const Shape& s = p.shape;
    ranges_ = core::ceil_div(core::ceil_div(s.keys, kKeys), task_tiles_);
    // A batch of empty sequences can be too large for memory to hold their turns.
    turn_count_ = s.queries == 0 ? 0 : s.batch * s.heads * ranges_;
    turns_ = arena.take<int64>(turn_count_ + 1);
    query_tile_ = core::larger(int64{1}, kBackwardTile.query_lanes / kernels.pitch) * kernels.pitch;
  }

  int64 task_keys() const { return task_tiles_ * kKeys; }
  Tile tile() const { return {query_tile_, kKeys}; }

  int64 scratch_bytes() const {
    Arena counting(nullptr);
    const KeyScratch<T> counted(p_, kernels_, task_keys(), counting);
    return counting.used();
  }

  void run(const Workers& workers) const {
    const Shape& s = p_.shape;
    const int64 heads = s.batch * s.key_heads;
    for (int64 n = 0; n < turn_count_; ++n)
      turns_[n] = tiles_of(n / ranges_ / s.heads, n % ranges_).end;
    int64& next = turns_[turn_count_];
    next = 0;
    workers.parallel(
        heads * ranges_,
        [&](int64 handed, int32 worker) {
          // Tasks start in the order of their keys, whichever thread runs them. So a task waits
          // only for tasks that have started, and tasks cannot wait for each other in a circle.
          const int64 task = ranges_ == 1 ? handed : std::atomic_ref(next).fetch_add(1);
          Arena arena(workers.scratch(worker));
          KeyScratch<T> scratch(p_, kernels_, task_keys(), arena);
          run_task(task % heads / s.key_heads, task % heads % s.key_heads, task / heads, scratch);
        },
        ranges_ > 1);
  }

 private:
  // The tiles of queries that see keys of a range.
  Range tiles_of(int64 b, int64 range) const {
    const core::Band band = band_of(p_, b);
    const Range columns = tile_range(range, task_keys(), band.keys);
    if (columns.empty()) return {0, 0};
    const Range seen = band.queries_of(columns);
    if (seen.empty()) return {0, 0};
    return {seen.begin / query_tile_, core::ceil_div(seen.end, query_tile_)};
  }

  int64& turn(int64 b, int64 h, int64 range) const {
    return turns_[(b * p_.shape.heads + h) * ranges_ + range];
  }

  void run_task(int64 b, int64 key_head, int64 range, KeyScratch<T>& s) const {
    const Place place = place_of(p_.keys, b);
    const Range columns = tile_range(range, task_keys(), place.length);
    if (columns.empty()) return;
    load_keys(place, key_head, columns, s);
    const Range tiles = tiles_of(b, range);
    for (int64 g = 0; g < p_.shape.group(); ++g) {
      const int64 h = key_head * p_.shape.group() + g;
      const Head<T> head(p_, b, h);
      for (int64 t = tiles.end - 1; t >= tiles.begin; --t) {
        const QueryTile tile{b, h, 1, tile_range(t, query_tile_, head.queries.length)};
        if (!tile.rows.empty()) take(head, tile, columns, s);
        wait_for_turn(b, h, range, t);
        if (!tile.rows.empty()) add_to_rows(head, tile, columns, s);
        std::atomic_ref(turn(b, h, range)).store(t, std::memory_order_release);
      }
    }
    store_keys(place, key_head, columns, s);
  }

  void wait_for_turn(int64 b, int64 h, int64 range, int64 tile) const {
    if (range == 0) return;
    const std::atomic_ref before(turn(b, h, range - 1));
    while (before.load(std::memory_order_acquire) > tile) std::this_thread::yield();
  }

  void load_keys(const Place& place, int64 key_head, Range columns, KeyScratch<T>& s) const {
    const Shape& shape = p_.shape;
    const int64 b = place.sequence, padded = columns.size() + kKeysBeyond;
    const Rows keys = s.list.of_keys(p_.key, {p_.keys, place, key_head}, columns, shape.dim);
    const T factor = factor_of<T>(p_.scaling.key, b, key_head);
    load_operand(kernels_, keys, factor, {s.key.data, s.key.pitch}, padded);
    if (s.key_right != s.key.data)
      load_right(kernels_, keys, factor, {s.key_right, s.key.pitch}, padded);
    load_operand(
        kernels_, s.list.of_keys(p_.value, {p_.keys, place, key_head}, columns, shape.value_dim),
        factor_of<T>(p_.scaling.value, b, key_head), {s.value.data, s.value.pitch}, padded);
    for (int64 n = 0; n < columns.size() * s.key.pitch; ++n) s.key.gradient[n] = 0;
    for (int64 n = 0; n < columns.size() * s.value.pitch; ++n) s.value.gradient[n] = 0;
  }

  // The rows to prefetch for the next tile of queries, which lies before `tile`.
  Prefetch next_rows(const View& view, const QueryTile& tile, int64 dim,
                     const RowList& list) const {
    const Range rows{core::larger(tile.rows.begin - query_tile_, int64{0}), tile.rows.begin};
    if (rows.empty()) return {};
    const QueryTile next{tile.b, tile.first_head, 1, rows};
    const Rows of = list.of_lanes(p_, view, {next, 0, next.lanes()}, dim);
    return {of.at, of.count, dim * core::bytes_of(view.dtype)};
  }

  int64 bundles_of(const QueryTile& tile) const {
    return core::ceil_div(tile.lanes(), kernels_.pitch);
  }

  // Calls body(keys, n) for each tile of keys that rows of `tile` see; n counts within the range.
  template <class Body>
  void for_each_key_tile(const Head<T>& head, const QueryTile& tile, Range columns,
                         Body body) const {
    for (int64 n = 0; n * kKeys < columns.size(); ++n) {
      const int64 begin = columns.begin + n * kKeys;
      const Range keys{begin, core::smaller(begin + kKeys, columns.end)};
      if (head.cover(tile.rows, keys) != Cover::kNone) body(keys, n);
    }
  }

  // Takes a tile of queries: computes its weights and the scores' gradients, and adds to the
  // gradients of keys and values. add_to_rows then adds to the gradients of the queries.
  void take(const Head<T>& head, const QueryTile& tile, Range columns, KeyScratch<T>& s) const {
    const int64 bundles = bundles_of(tile), lanes = kernels_.pitch;
    const int64 depth = lanes / kernels_.packed();
    for (int64 m = 0; m < bundles; ++m)
      s.rows[m].load({p_, kernels_, sums_}, tile, m * lanes,
                     {s.list,
                      {s.key.rows + m * depth * s.key.pitch, s.key.pitch},
                      {s.value.rows + m * depth * s.value.pitch, s.value.pitch}});
    Prefetch fetched = next_rows(p_.query, tile, p_.shape.dim, s.key.next_rows);
    Prefetch also = next_rows(p_.gradients.output, tile, p_.shape.value_dim, s.value.next_rows);
    for_each_key_tile(head, tile, columns, [&](Range keys, int64 n) {
      const KeyTile at{columns, keys, n};
      bool whole = true;
      for (int64 m = 0; m < bundles; ++m) {
        take_bundle(at, m, fetched, s);
        // If the first vector has all keys, every other has them: no vector has fewer.
        whole =
            whole && s.visible.keys[n * s.bundles + m] == keys && *ends_of(n, m, s) == keys.size();
        fetched = also;
        also = {};
      }
      // If bundles see different keys, each bundle has products of its own.
      const int64 steps = whole ? 1 : bundles;
      for (int64 m = 0; m < steps; ++m) add_to_keys(at, m, whole ? bundles : 1, s);
    });
  }

  // Tile n of a task's keys.
  struct KeyTile {
    Range task, keys;
    int64 n;
  };

  int64* ends_of(int64 n, int64 m, const KeyScratch<T>& s) const {
    return s.visible.ends + (n * s.bundles + m) * (kernels_.pitch / kernels_.lanes);
  }

  // Adds the parts of bundles m .. m + count - 1 to the gradients of the keys that bundle m sees.
  // Vector j takes the first ends[j] of these keys, no fewer than vector j - 1. So the keys from
  // ends[j - 1] to ends[j] are multiplied with vector j and later ones.
  void add_to_keys(const KeyTile& at, int64 m, int64 count, KeyScratch<T>& s) const {
    const Range seen = s.visible.keys[at.n * s.bundles + m];
    const int64* ends = ends_of(at.n, m, s);
    int64 done = 0;
    for (int64 j = 0; j < s.rows[m].bundle.vectors; ++j) {
      if (done == ends[j]) continue;
      add_to_stretch(at, {seen.begin + done, seen.begin + ends[j]},
                     {m, count, j * kernels_.lanes / kernels_.packed()}, s);
      done = ends[j];
    }
  }

  // Bundles m .. m + count - 1, and of each of their rows the elements from `first` on.
  struct LanesOf {
    int64 m, count, first;
  };

  void add_to_stretch(const KeyTile& at, Range keys, const LanesOf& of, KeyScratch<T>& s) const {
    const int64 lanes = kernels_.pitch, row = lanes / kernels_.packed();
    const int64 to = keys.begin - at.task.begin, from = keys.begin - at.keys.begin;
    // With one bundle a product reads only the vectors in use; with several it reads whole rows.
    const Bundle<T>& bundle = s.rows[of.m].bundle;
    const int64 used = of.count > 1 ? row : bundle.vectors * kernels_.lanes / kernels_.packed();
    const int64 element = of.m * row + of.first;
    const auto left = [&](const T* tile) {
      return LeftSide<T>{tile + (of.m * kKeys + from) * lanes + of.first,
                         lanes,
                         1,
                         used - of.first,
                         of.count,
                         kKeys * lanes};
    };
    if (p_.gradients.value)
      kernels_.backward.add_product({left(s.weights),
                                     {s.value.rows + element * s.value.pitch, s.value.pitch},
                                     {s.value.gradient + to * s.value.pitch, s.value.pitch},
                                     keys.size(),
                                     s.value.columns});
    if (p_.gradients.key)
      kernels_.backward.add_product({left(gradients_by_key(at.n, s)),
                                     {s.key.rows + element * s.key.pitch, s.key.pitch},
                                     {s.key.gradient + to * s.key.pitch, s.key.pitch},
                                     keys.size(),
                                     s.key.columns});
  }

  void take_bundle(const KeyTile& at, int64 m, const Prefetch& prefetch, KeyScratch<T>& s) const {
    const BundleRows<T>& rows = s.rows[m];
    const Range keys = at.keys;
    const int64 lanes = kernels_.pitch, n = at.n;
    T* weights = s.weights + m * kKeys * lanes;
    T* raw = gradients_by_key(n, s) + m * kKeys * lanes;
    Range seen = core::intersect(keys, rows.bundle.seen);
    if (seen.empty()) seen = {keys.begin, keys.begin};
    seen.begin = keys.begin + (seen.begin - keys.begin) / kRowStep * kRowStep;
    s.visible.keys[n * s.bundles + m] = seen;
    int64* ends = ends_of(n, m, s);
    rows.bundle.find_ends(kernels_, seen, ends);
    const int64 first = (seen.begin - keys.begin) * lanes;
    // Products read whole rows, so vectors that hold no queries must be 0. Products of a single
    // bundle of numbers, not pairs, are the exception: they read only the vectors in use.
    const bool kept = bundles_of(rows.tile) == 1 && !kernels_.pairs();
    if (rows.bundle.vectors * kernels_.lanes < lanes && !kept) {
      for (T* numbers : {weights, raw})
        for (int64 i = 0; i < seen.size() * lanes; ++i) numbers[first + i] = 0;
    }
    T* slope = s.slope ? s.slope + (n * s.bundles + m) * lanes : nullptr;
    for (int64 lane = 0; slope && lane < lanes; ++lane) slope[lane] = 0;
    if (seen.empty()) return;
    const int64 skipped = seen.begin - at.task.begin;
    const GradientTile<T> to{weights + first, s.gradient.capped ? s.gradient.capped : raw + first,
                             raw + first};
    differentiate<T>({p_, kernels_, sums_}, s.scores, rows,
                     {{seen, {s.key.data + skipped * s.key.pitch, s.key.pitch}, prefetch, ends},
                      {s.value.data + skipped * s.value.pitch, s.value.pitch}},
                     to);
    if (slope)
      kernels_.backward.add_slopes(
          {{to.gradient, seen.size(), rows.bundle.vectors, ends},
           Scorer<T>(p_, kernels_, s.scores).find_positions(rows.tile, rows.bundle, seen),
           slope});
    if (kernels_.pairs())
      kernels_.backward.pack({seen.size(), to.weights, to.raw,
                              gradients_by_query(n, m, s) + first / kernels_.packed()});
  }

  // The scores' gradients of tile n of the keys, [bundle][key][lane], for the keys' gradient.
  T* gradients_by_key(int64 n, const KeyScratch<T>& s) const {
    return s.gradient.by_key ? s.gradient.by_key : gradients_by_query(n, 0, s);
  }

  // The scores' gradients of tile n of the keys and bundle m, for the queries' gradient.
  T* gradients_by_query(int64 n, int64 m, const KeyScratch<T>& s) const {
    return s.gradient.by_query + (n * s.bundles + m) * kKeys * kernels_.pitch / kernels_.packed();
  }

  // Adds to the gradients of a tile of queries the parts of the tiles of keys, one by one.
  void add_to_rows(const Head<T>& head, const QueryTile& tile, Range columns,
                   KeyScratch<T>& s) const {
    const int64 lanes = kernels_.pitch, packed = kernels_.packed();
    const int64 row = sums_.first(tile.b, tile.first_head) + tile.rows.begin;
    for_each_key_tile(head, tile, columns, [&](Range keys, int64 n) {
      for (int64 m = 0; m < bundles_of(tile); ++m) {
        const Bundle<T>& bundle = s.rows[m].bundle;
        const Range seen = s.visible.keys[n * s.bundles + m];
        if (seen.empty()) continue;
        const int64 skipped = seen.begin - columns.begin, first = seen.begin - keys.begin;
        const int64* ends = ends_of(n, m, s);
        // Neighbouring vectors with the same number of keys share a product.
        for (int64 j = 0, next = 0; sums_.query && j < bundle.vectors; j = next) {
          while (next < bundle.vectors && ends[next] == ends[j]) ++next;
          const int64 lane = j * kernels_.lanes;
          const int64 count = core::smaller(next * kernels_.lanes, bundle.count) - lane;
          kernels_.backward.add_product(
              {{gradients_by_query(n, m, s) + first / packed * lanes + lane, 1, lanes,
                core::ceil_div(ends[j], packed), 1, 0},
               {s.key_right + skipped / packed * s.key.pitch, s.key.pitch},
               {sums_.query + (row + m * lanes + lane) * sums_.pitch, sums_.pitch},
               count,
               s.key.columns});
        }
        for (int64 lane = 0; sums_.slope && lane < bundle.count; ++lane)
          sums_.slope[row + m * lanes + lane] += s.slope[(n * s.bundles + m) * lanes + lane];
      }
    });
  }

  void store_keys(const Place& place, int64 key_head, Range columns, KeyScratch<T>& s) const {
    const auto put = [&](const View& to, int64 dim, T factor, Matrix<const T> from) {
      if (!to) return;
      for (int64 i = 0; i < columns.size(); ++i) s.factor[i] = factor;
      store_lanes(kernels_, s.list.of_keys(to, {p_.keys, place, key_head}, columns, dim), s.factor,
                  from);
    };
    put(p_.gradients.key, p_.shape.dim, static_cast<T>(p_.scores.scale),
        {s.key.gradient, s.key.pitch});
    put(p_.gradients.value, p_.shape.value_dim, T(1), {s.value.gradient, s.value.pitch});
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  const RowSums<T>& sums_;
  int64 task_tiles_, ranges_, turn_count_, query_tile_;
  int64* turns_;  // [head][range]: tiles of queries from this on are done; last, the next task
};

}  // namespace tilewise::cpu
