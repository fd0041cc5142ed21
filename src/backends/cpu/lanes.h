// How queries are put into lanes: a lane holds one row of one head. A tile of queries is cut into
// bundles of Kernels::pitch lanes, the width of a tile of scores. With long sequences a tile has
// rows of one head; with short ones, as in decoding, it has the rows of several heads that share a
// key head, so that keys and values are read once for all of them.
#pragma once

#include <initializer_list>

#include "backends/cpu/kernels.h"
#include "host/head.h"
#include "parallel/parallel.h"
#include "plan/arena.h"

namespace tilewise::cpu {

// The kernels of an instruction set for numbers of type T.
template <class T>
const Kernels<T>& kernels_in(const Isa& isa) {
  if constexpr (sizeof(T) == sizeof(double))
    return isa.of_numbers.in_double;
  else
    return isa.of_numbers.in_float;
}

// Whether a problem is computed in double, as double inputs are; all others are computed in float.
inline bool is_double(const Problem& problem) {
  return problem.query.dtype == DType::kFloat64;
}

// The kernels for a problem: those for bfloat16 pairs if the instruction set has them and query,
// key, value and the output's gradient are bfloat16 without scaling; else those that convert inputs
// to T.
template <class T>
const Kernels<T>& kernels_for(const Problem& p, const Isa& isa) {
  if constexpr (sizeof(T) == sizeof(float)) {
    bool pairs = isa.of_bfloat16.lanes > 0;
    for (const View* view : {&p.query, &p.key, &p.value, &p.gradients.output})
      pairs = pairs && (!*view || view->dtype == DType::kBFloat16);
    for (const View* view :
         {&p.scaling.query, &p.scaling.key, &p.scaling.value, &p.scaling.output_gradient})
      pairs = pairs && !*view;
    if (pairs) return isa.of_bfloat16;
  }
  return kernels_in<T>(isa);
}

// A tile of queries: rows `rows` of each of `heads` neighbouring heads that share a key head.
struct QueryTile {
  int64 b, first_head, heads;
  Range rows;

  int64 lanes() const { return heads * rows.size(); }
  int64 head(int64 lane) const { return first_head + lane / rows.size(); }
  int64 row(int64 lane) const { return rows.begin + lane % rows.size(); }
};

// Calls body(tile, worker) for every tile of up to `lanes` queries of one head.
template <class Body>
void for_each_query_tile(const Problem& p, int64 lanes, const Parallel& parallel,
                         const Body& body) {
  const int64 tiles = core::ceil_div(p.shape.queries, lanes);
  parallel(p.shape.batch * p.shape.heads * tiles, [&](int64 task, int32 worker) {
    const int64 head = task / tiles, b = head / p.shape.heads;
    const Range rows = tile_range(task % tiles, lanes, place_of(p.queries, b).length);
    if (!rows.empty()) body(QueryTile{b, head % p.shape.heads, 1, rows}, worker);
  });
}

// Lanes first .. first + count - 1 of a tile, with each lane's visible keys, slope and dropout
// position.
template <class T>
struct Bundle {
  Bundle() = default;
  Bundle(const Problem& p, const Kernels<T>& kernels, Arena& arena)
      : begin(arena.take<int64>(kernels.pitch)),
        end(arena.take<int64>(kernels.pitch)),
        last(arena.take<int64>(kernels.pitch / kernels.lanes)) {
    if (p.scores.slopes) slope = arena.take<T>(kernels.pitch);
    if (!p.dropout.decide.active()) return;
    drop_row = arena.take<uint32>(kernels.pitch);
    drop_upper = arena.take<uint32>(kernels.pitch);
    drop_head = arena.take<uint32>(kernels.pitch);
  }

  void place(const Problem& p, const Kernels<T>& kernels, const QueryTile& tile, int64 from) {
    first = from;
    count = core::smaller(kernels.pitch, tile.lanes() - from);
    vectors = core::ceil_div(count, kernels.lanes);
    const core::Band band = band_of(p, tile.b);
    seen = {core::kUnlimited, 0};
    shared = {0, core::kUnlimited};
    for (int64 lane = 0; lane < count; ++lane) {
      const int64 vector = lane / kernels.lanes;
      if (lane % kernels.lanes == 0) last[vector] = vector == 0 ? 0 : last[vector - 1];
      const Range keys = band.visible_keys(tile.row(first + lane));
      begin[lane] = keys.begin;
      end[lane] = keys.end;
      shared = core::intersect(shared, keys);
      if (keys.empty()) continue;
      seen = {core::smaller(seen.begin, keys.begin), core::larger(seen.end, keys.end)};
      last[vector] = seen.end;
    }
    // Lanes without a row, at the end of the last vector, see no keys.
    for (int64 lane = count; lane < vectors * kernels.lanes; ++lane) begin[lane] = end[lane] = 0;
    if (slope)
      fill(kernels, tile, slope,
           [&](int64 l) { return Head<T>(p, tile.b, tile.head(l)).alibi.slope; });
    if (!drop_row) return;
    const int64* base = p.dropout.base;
    fill(kernels, tile, drop_row, [&](int64 l) {
      const int64 row = tile.row(l) + base[2];
      return static_cast<uint32>(row / 16 * 8 + row % 8);
    });
    fill(kernels, tile, drop_upper,
         [&](int64 l) { return static_cast<uint32>((tile.row(l) + base[2]) % 16 / 8); });
    fill(kernels, tile, drop_head,
         [&](int64 l) { return static_cast<uint32>(tile.head(l) + base[1]); });
  }

  // Sets ends[j] to the number of keys of `keys` that vector j takes (ScoreTile::ends).
  void find_ends(const Kernels<T>& kernels, Range keys, int64* ends) const {
    for (int64 j = 0; j < vectors; ++j) {
      const int64 left = core::larger(last[j] - keys.begin, int64{0});
      ends[j] =
          kernels.ends ? core::smaller(core::round_up(left, kRowStep), keys.size()) : keys.size();
    }
  }

  int64 first = 0, count = 0, vectors = 0;
  Range seen, shared;                      // keys that some lane sees; keys that all lanes see
  int64 *begin = nullptr, *end = nullptr;  // by lane: the keys it sees
  int64* last = nullptr;  // by vector: end of the keys that it or an earlier vector sees
  T* slope = nullptr;
  uint32 *drop_row = nullptr, *drop_upper = nullptr, *drop_head = nullptr;  // see DropLanes

 private:
  template <class Number, class Of>
  void fill(const Kernels<T>& kernels, const QueryTile& tile, Number* to, Of of) {
    for (int64 lane = 0; lane < vectors * kernels.lanes; ++lane)
      to[lane] = of(core::smaller(first + lane, tile.lanes() - 1));
  }
};

// `count` bundles in scratch memory; null while the arena only counts bytes.
template <class T>
Bundle<T>* take_bundles(const Problem& p, const Kernels<T>& kernels, int64 count, Arena& arena) {
  Bundle<T>* bundles = arena.take<Bundle<T>>(count);
  for (int64 n = 0; n < count; ++n) {
    const Bundle<T> bundle(p, kernels, arena);
    if (bundles) bundles[n] = bundle;
  }
  return bundles;
}

}  // namespace tilewise::cpu
