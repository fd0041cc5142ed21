// What a task of backward's pass over keys has in scratch memory.
#pragma once

#include "backends/cpu/backward/differentiate.h"

namespace tilewise::cpu {

// About so many queries are worked on at once.
inline constexpr int64 kQueryLanes = 96;
// So many groups are these where a register has two lanes, and a group three registers.
inline constexpr int64 kMostQueryGroups = 16;
// Keys of a tile.
inline constexpr int64 kKeys = 64;

// Tiles of a task that are worth loading queries for, and adding to their gradients.
inline constexpr int64 kEnoughTiles = 4;

// Tiles of a task, at most: keys, values and their gradients should not be much beyond the second
// cache.
template <class T>
int64 most_tiles(const Shape& s) {
  constexpr int64 kNearBytes = 1 << 20, kMost = 8;
  const int64 tile_bytes = 2 * kKeys * (s.dim + s.value_dim) * static_cast<int64>(sizeof(T));
  return core::larger(kEnoughTiles, core::smaller(kMost, kNearBytes / tile_bytes));
}

// Products read a few columns of all rows. Where vectors are short these are a line, and rows a
// power of two apart would meet in a few sets of the first cache: they lie an odd number of lines
// apart. Vectors as long as a line read four of them, and gaps would only take room.
template <class T>
int64 spread(const Kernels<T>& kernels, int64 columns) {
  constexpr int64 kNumbers = kLine / static_cast<int64>(sizeof(T));
  return kernels.lanes == kNumbers ? columns : (core::ceil_div(columns, kNumbers) | 1) * kNumbers;
}

template <class T>
struct KeyScratch {
  KeyScratch(const Problem& p, const Kernels<T>& kernels, int64 task_keys, Arena& arena)
      : groups(core::larger(int64{1}, kQueryLanes / kernels.pitch)),
        columns(core::round_up(p.shape.dim, kernels.lanes)),
        value_columns(core::round_up(p.shape.value_dim, kernels.lanes)),
        pitch(spread(kernels, columns)),
        value_pitch(spread(kernels, value_columns)),
        scores(p, kernels, arena) {
    const int64 lanes = kernels.pitch, tile = kKeys * lanes;
    list.at = arena.take<std::byte*>(core::larger(task_keys, lanes));
    key = arena.take<T>((task_keys + kKeysBeyond) * pitch);
    key_right =
        kernels.pairs() ? arena.take<T>((task_keys + kKeysBeyond) / kernels.packed() * pitch) : key;
    value = arena.take<T>((task_keys + kKeysBeyond) * value_pitch);
    key_gradient = arena.take<T>(task_keys * pitch);
    value_gradient = arena.take<T>(task_keys * value_pitch);
    query = arena.take<T>(groups * lanes * pitch);
    output = arena.take<T>(groups * lanes * value_pitch);
    // Registers of AMX read rows that nobody asked for.
    weights = arena.take<T>(groups * tile + kKeysBeyond * lanes);
    by_query = arena.take<T>((groups * task_keys / kernels.packed() + kKeysBeyond) * lanes);
    if (kernels.pairs()) by_key = arena.take<T>(groups * tile + kKeysBeyond * lanes);
    gradient = p.scores.softcap > 0 ? arena.take<T>(tile) : nullptr;
    seen = arena.take<Range>(groups * (task_keys / kKeys));
    ends = arena.take<int64>(groups * (task_keys / kKeys) * (lanes / kernels.lanes));
    ahead_query.at = arena.take<std::byte*>(groups * lanes);
    ahead_output.at = arena.take<std::byte*>(groups * lanes);
    if (p.gradients.slopes) slope = arena.take<T>(groups * lanes * (task_keys / kKeys));
    factor = arena.take<T>(core::larger(task_keys, lanes));
    for (int64 g = 0; g < groups; ++g) rows[g] = GroupRows<T>(p, kernels, arena);
  }

  int64 groups, columns, value_columns, pitch, value_pitch;
  ScoreScratch<T> scores;
  RowList list, ahead_query, ahead_output;
  T *key, *value;                    // [key][dim], for scores
  T* key_right;                      // the same for add_product
  T *key_gradient, *value_gradient;  // [key][dim]
  T *query, *output;                 // [group][lane, or pair of lanes][dim], for add_product
  T* weights;                        // [group][key][lane], of one tile of keys
  // The scores' gradients before the softcap, twice where products are of pairs: pairs of keys for
  // the queries' gradient, and pairs of lanes, of one tile of keys, for the keys'.
  T* by_query;          // [tile of keys][group][key][lane]
  T* by_key = nullptr;  // [group][key][lane]
  T* gradient;          // [key][lane]
  Range* seen;          // [tile of keys][group]: keys with weights, in whole blocks
  int64* ends;          // [tile of keys][group][vector]: counted from the first that is seen
  T* slope = nullptr;   // [tile of keys][group][lane]
  T* factor;
  GroupRows<T> rows[kMostQueryGroups];
};

}  // namespace tilewise::cpu
