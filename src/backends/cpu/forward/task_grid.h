// How a forward pass is cut into tasks.
#pragma once

#include "backends/cpu/policy.h"
#include "backends/cpu/scoring/scores.h"

namespace tilewise::cpu {

// Tiles of queries, `rows` rows of `heads` heads that share keys, and splits of the keys. Tiles may
// depend on the number of workers: lanes are independent, so tiles change no bit of a result. (An
// infinite value is an exception: a hidden key's weight of 0 makes NaN of it, and the tile decides
// which hidden keys are multiplied.) Splits change bits, so they never depend on the number of
// workers.
struct TaskGrid {
  int64 batch = 0, key_heads = 0, group = 1;  // of the problem
  int64 rows = 1, heads = 1;                  // of a tile
  int64 row_tiles = 0, head_tiles = 1;
  int64 half_rows = 0;  // of a head's last two tiles if they are halves, else 0
  int64 bundles = 1;    // bundles of lanes in a tile
  int64 together = 1;   // tiles of a task, of neighbouring key heads
  struct {
    int64 count = 1, keys = core::kUnlimited;
  } split;  // of the keys
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

  int64 tasks() const { return tiles() / together * split.count; }

  // Whether workers must take tasks in order: the last tasks are the smallest and even out the end.
  bool in_order() const { return (longest_first && row_tiles > 1) || halves() > 0; }

  struct TilePlace {
    int64 row_tile, other;  // tile's index in its head, and head tile's index
  };

  // Under a causal mask late rows see the most keys, so their tiles come first. Without one, the
  // tiles of a head follow each other, while its keys are in the cache; halved tiles come last.
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

  Range keys_of_split(int64 n) const {
    return {n * split.keys, core::smaller(core::kUnlimited, (n + 1) * split.keys)};
  }
};

// Whether a call decodes: a tile has so few queries that keys and values are read in place.
template <class T>
bool decodes(const TaskGrid& grid, const Kernels<T>& kernels) {
  return kernels.decode.score && grid.lanes() <= core::smaller(kDecode.queries, kernels.lanes);
}

// Whether a decoding tile has one query, no mask but the band, no score map and no dropout. Its
// scores are then contiguous.
template <class T>
bool decodes_one(const Problem& p, const TaskGrid& grid, const Kernels<T>& kernels) {
  const bool plain = !is_mapped(p) && !p.mask.visible && !p.mask.blocks;
  return decodes(grid, kernels) && grid.lanes() == 1 && plain && !p.dropout.decide.active();
}

inline int64 largest_divisor(int64 key_heads) {
  int64 divisor = kDecode.key_heads;
  while (key_heads % divisor != 0) --divisor;
  return divisor;
}

// Halves the last tile of each head if there are few tiles a worker, so that workers that finish
// early wait less for the last tile.
template <class T>
void halve_last(TaskGrid& grid, const Kernels<T>& kernels, int64 queries, int workers) {
  const bool uneven = workers > 1 && grid.tiles() < kTilesToHalve * workers;
  const int64 left = queries - (grid.row_tiles - 1) * grid.rows;
  if (grid.longest_first || !uneven || grid.row_tiles < 2 || left <= kernels.pitch) return;
  grid.half_rows = core::round_up(core::ceil_div(left, 2), kernels.lanes);
  ++grid.row_tiles;
}

template <class T>
TaskGrid task_grid_of(const Problem& p, const Kernels<T>& kernels, int workers) {
  const Shape& s = p.shape;
  TaskGrid grid;
  grid.batch = s.batch;
  grid.key_heads = s.key_heads;
  grid.longest_first = p.mask.right < core::kUnlimited;
  const int64 heads = s.batch * s.key_heads;
  // Without key heads group() would divide by 0.
  if (s.queries == 0 || heads == 0) return grid;
  grid.group = s.group();

  // Each worker gets a few tiles, so that none waits long for the last tile. With much work tiles
  // are larger, but not with a block mask: many queries seldom skip the same block.
  const TaskSize& size = grid.longest_first ? kCausalQueryTasks : kQueryTasks;
  const int64 row_bytes = (s.dim + s.value_dim) * static_cast<int64>(sizeof(T));
  const int64 most = p.mask.blocks ? size.enough : size.most_of(row_bytes);
  const auto bundles_of = [&](int64 queries, int64 tasks) {
    const int64 all = heads * s.group() * s.queries;
    return core::smaller(queries, all / (tasks * workers)) / kernels.pitch;
  };
  const int64 bundles =
      core::larger(bundles_of(size.enough, size.tasks), bundles_of(most, size.larger_tasks));
  const int64 lanes = core::larger(int64{1}, bundles) * kernels.pitch;
  // With a block mask a tile has one head, because a tile skips blocks by what that head sees.
  if (!p.mask.blocks && 2 * s.queries <= lanes)
    grid.heads = core::smaller(s.group(), lanes / s.queries);
  grid.head_tiles = core::ceil_div(s.group(), grid.heads);
  grid.heads = core::ceil_div(s.group(), grid.head_tiles);
  grid.row_tiles = core::ceil_div(s.queries, core::smaller(s.queries, lanes / grid.heads));
  grid.rows = core::smaller(
      s.queries, core::round_up(core::ceil_div(s.queries, grid.row_tiles), kernels.lanes));
  grid.row_tiles = core::ceil_div(s.queries, grid.rows);
  grid.bundles = core::ceil_div(grid.rows * grid.heads, kernels.pitch);
  halve_last(grid, kernels, s.queries, workers);

  // If a key head has one tile, tiles of neighbouring key heads are consecutive.
  const bool one = grid.row_tiles == 1 && grid.head_tiles == 1;
  if (one && decodes(grid, kernels) && !p.mask.blocks) grid.together = largest_divisor(s.key_heads);

  // Keys are split only if there are few tiles, because a merge costs time. Splits change bits, so
  // they must not depend on strides: `together` is read here before strides change it.
  const int64 least_tiles =
      heads / grid.together * core::ceil_div(s.group() * s.queries, kernels.pitch);
  if (least_tiles < kSplits.fewer_tiles && s.keys >= 2 * kSplits.least_keys) {
    const int64 wanted =
        core::smaller(core::ceil_div(kSplits.tasks, least_tiles), s.keys / kSplits.least_keys);
    grid.split.keys = core::round_up(core::ceil_div(s.keys, wanted), kernels.keys);
    grid.split.count = core::ceil_div(s.keys, grid.split.keys);
  }
  // If heads are farther apart in memory than rows, each head is read on its own.
  if (p.key.stride.head > p.key.stride.row) grid.together = 1;
  return grid;
}

}  // namespace tilewise::cpu
