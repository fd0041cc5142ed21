// How a forward pass is cut into tasks.
#pragma once

#include "backends/cpu/scores.h"

namespace tilewise::cpu {

// Queries of a task that are worth loading keys and values for.
inline constexpr int64 kEnoughLanes = 384;

// Queries of a task, at most: while keys go by, their rows of query and output should stay in the
// second cache. Where blocks are absent, more than enough would seldom agree on one.
template <class T>
int64 most_lanes(const Problem& p) {
  constexpr int64 kNearBytes = 768 << 10, kMost = 1536;
  const int64 row_bytes = (p.shape.dim + p.shape.value_dim) * static_cast<int64>(sizeof(T));
  if (p.mask.blocks) return kEnoughLanes;
  return core::larger(kEnoughLanes, core::smaller(kMost, kNearBytes / row_bytes));
}

// Tiles of queries: `rows` rows of `heads` heads that share keys; and splits of the keys. How
// queries are cut changes no bit of a result, for lanes know nothing of each other (but a weight of
// 0 makes NaN of an infinite value), so it may depend on the number of workers; how keys are split
// does, so that does not.
struct Cut {
  int64 batch = 0, key_heads = 0, group = 1;  // of the problem
  int64 rows = 1, heads = 1;                  // of a tile
  int64 row_tiles = 0, head_tiles = 1;
  int64 half_rows = 0;  // of the last two row tiles, if they are shorter and taken last
  int64 groups = 1;     // of lanes, in a task
  int64 together = 1;   // tiles of a task, of neighbouring key heads
  int64 splits = 1, split_keys = core::kUnlimited;
  bool longest_first = false;

  int64 lanes() const { return rows * heads; }
  int64 halves() const { return half_rows > 0 ? 2 : 0; }
  int64 tiles() const { return batch * key_heads * head_tiles * row_tiles; }

  QueryTile tile(const Problem& p, int64 n) const {
    const auto [row_tile, other] = place(n);
    const int64 b = other / head_tiles / key_heads, key_head = other / head_tiles % key_heads;
    const int64 first = other % head_tiles * heads;
    return {b, key_head * group + first, core::smaller(heads, group - first),
            rows_of(row_tile, place_of(p.queries, b).length)};
  }

  int64 tasks() const { return tiles() / together * splits; }

  // Whether the last tasks are the smallest, so that whoever is done early takes them.
  bool in_order() const { return (longest_first && row_tiles > 1) || halves() > 0; }

  struct TilePlace {
    int64 row_tile, other;  // among a head's, and among the heads'
  };

  // Tiles of late rows have the most keys under a causal mask. Otherwise tiles of one head follow
  // each other, while its keys are still near.
  TilePlace place(int64 n) const {
    const int64 others = batch * key_heads * head_tiles, whole = row_tiles - halves();
    if (longest_first) return {row_tiles - 1 - n / others, n % others};
    if (n < whole * others) return {n % whole, n / whole};
    const int64 late = n - whole * others;
    return {whole + late % halves(), late / halves()};
  }

  Range rows_of(int64 row_tile, int64 length) const {
    const int64 whole = row_tiles - halves();
    if (row_tile < whole) return tile_range(row_tile, rows, length);
    const int64 half = row_tile - whole;
    const int64 begin = core::smaller(length, whole * rows + half * half_rows);
    return {begin, core::smaller(length, begin + half_rows)};
  }

  Range keys_of_split(int64 split) const {
    return {split * split_keys, core::smaller(core::kUnlimited, (split + 1) * split_keys)};
  }
};

// Whether a tile has so few queries that keys and values are used where they lie.
template <class T>
bool is_few(const Cut& cut, const Kernels<T>& kernels) {
  return kernels.score_few && cut.lanes() <= core::smaller(kMostFew, kernels.lanes);
}

// Whether that is one query, of which no key is hidden but by the band, and whose scores are the
// product and no more: they lie side by side then.
template <class T>
bool is_one(const Problem& p, const Cut& cut, const Kernels<T>& kernels) {
  const bool plain = !is_mapped(p) && !p.mask.visible && !p.mask.blocks;
  return is_few(cut, kernels) && cut.lanes() == 1 && plain && !p.dropout.decide.active();
}

// Whether rows of `dim` numbers must be copied for that.
template <class T>
bool is_copied(const View& rows, const View& scaling, int64 dim, const Kernels<T>& kernels) {
  const bool small = rows.dtype == DType::kBFloat16 || rows.dtype == DType::kFloat16;
  const bool read = sizeof(T) == sizeof(double) ? rows.dtype == DType::kFloat64
                                                : small || rows.dtype == DType::kFloat32;
  return !read || scaling || dim % kernels.lanes != 0;
}

inline int64 largest_divisor(int64 key_heads) {
  int64 divisor = kMostTogether;
  while (key_heads % divisor != 0) --divisor;
  return divisor;
}

// With few tiles a worker, those who are done early would wait long for the last one: of each
// head's tiles the last becomes two.
template <class T>
void halve_last(Cut& cut, const Kernels<T>& kernels, int64 queries, int workers) {
  constexpr int64 kMany = 8;
  const bool few = workers > 1 && cut.tiles() < kMany * workers;
  const int64 left = queries - (cut.row_tiles - 1) * cut.rows;
  if (cut.longest_first || !few || cut.row_tiles < 2 || left <= kernels.pitch) return;
  cut.half_rows = core::round_up(core::ceil_div(left, 2), kernels.lanes);
  ++cut.row_tiles;
}

template <class T>
Cut cut_of(const Problem& p, const Kernels<T>& kernels, int workers) {
  const Shape& s = p.shape;
  Cut cut;
  cut.batch = s.batch;
  cut.key_heads = s.key_heads;
  cut.longest_first = p.mask.right < core::kUnlimited;
  const int64 heads = s.batch * s.key_heads;
  // Without heads there is no group of them either.
  if (s.queries == 0 || heads == 0) return cut;
  cut.group = s.group();

  // A few tiles a worker, so that nobody waits long for the last one. Where there are more than a
  // few, they are larger.
  const auto shared = [&](int64 most, int64 tiles_per_worker) {
    const int64 all = heads * s.group() * s.queries;
    return core::smaller(most, all / (tiles_per_worker * workers)) / kernels.pitch;
  };
  const int64 groups =
      core::larger(shared(kEnoughLanes, cut.longest_first ? 5 : 2), shared(most_lanes<T>(p), 6));
  const int64 lanes = core::larger(int64{1}, groups) * kernels.pitch;
  // Absent blocks are skipped by what one head sees.
  if (!p.mask.blocks && 2 * s.queries <= lanes)
    cut.heads = core::smaller(s.group(), lanes / s.queries);
  cut.head_tiles = core::ceil_div(s.group(), cut.heads);
  cut.heads = core::ceil_div(s.group(), cut.head_tiles);
  cut.row_tiles = core::ceil_div(s.queries, core::smaller(s.queries, lanes / cut.heads));
  cut.rows = core::smaller(s.queries,
                           core::round_up(core::ceil_div(s.queries, cut.row_tiles), kernels.lanes));
  cut.row_tiles = core::ceil_div(s.queries, cut.rows);
  cut.groups = core::ceil_div(cut.rows * cut.heads, kernels.pitch);
  halve_last(cut, kernels, s.queries, workers);

  // Tiles of neighbouring key heads follow each other where a head has one.
  const bool one = cut.row_tiles == 1 && cut.head_tiles == 1;
  if (one && is_few(cut, kernels) && !p.mask.blocks) cut.together = largest_divisor(s.key_heads);

  // Splits are worth their merging only where there is little else to share out. They change bits,
  // so they look at no strides, and at `together` before strides change it.
  constexpr int64 kFewTiles = 32, kWantedTasks = 64, kLeastKeys = 512;
  const int64 least_tiles =
      heads / cut.together * core::ceil_div(s.group() * s.queries, kernels.pitch);
  if (least_tiles < kFewTiles && s.keys >= 2 * kLeastKeys) {
    const int64 wanted =
        core::smaller(core::ceil_div(kWantedTasks, least_tiles), s.keys / kLeastKeys);
    cut.split_keys = core::round_up(core::ceil_div(s.keys, wanted), kernels.keys);
    cut.splits = core::ceil_div(s.keys, cut.split_keys);
  }
  // Where heads lie apart each is read in its own order.
  if (p.key.stride.head > p.key.stride.row) cut.together = 1;
  return cut;
}

}  // namespace tilewise::cpu
