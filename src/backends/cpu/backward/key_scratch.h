// What a task of backward's pass over keys has in scratch memory.
#pragma once

#include "backends/cpu/backward/differentiate.h"
#include "backends/cpu/policy.h"

namespace tilewise::cpu {

inline constexpr int64 kKeys = kBackwardTile.keys;

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
      : bundles(core::larger(int64{1}, kBackwardTile.query_lanes / kernels.pitch)),
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
    query = arena.take<T>(bundles * lanes * pitch);
    output = arena.take<T>(bundles * lanes * value_pitch);
    // Registers of AMX read rows that nobody asked for.
    weights = arena.take<T>(bundles * tile + kKeysBeyond * lanes);
    by_query = arena.take<T>((bundles * task_keys / kernels.packed() + kKeysBeyond) * lanes);
    if (kernels.pairs()) by_key = arena.take<T>(bundles * tile + kKeysBeyond * lanes);
    gradient = p.scores.softcap > 0 ? arena.take<T>(tile) : nullptr;
    seen = arena.take<Range>(bundles * (task_keys / kKeys));
    ends = arena.take<int64>(bundles * (task_keys / kKeys) * (lanes / kernels.lanes));
    next_query.at = arena.take<std::byte*>(bundles * lanes);
    next_output.at = arena.take<std::byte*>(bundles * lanes);
    if (p.gradients.slopes) slope = arena.take<T>(bundles * lanes * (task_keys / kKeys));
    factor = arena.take<T>(core::larger(task_keys, lanes));
    for (int64 m = 0; m < bundles; ++m) rows[m] = BundleRows<T>(p, kernels, arena);
  }

  int64 bundles, columns, value_columns, pitch, value_pitch;
  ScoreScratch<T> scores;
  RowList list, next_query, next_output;
  T *key, *value;                    // [key][dim], for scores
  T* key_right;                      // the same for add_product
  T *key_gradient, *value_gradient;  // [key][dim]
  T *query, *output;                 // [bundle][lane, or pair of lanes][dim], for add_product
  T* weights;                        // [bundle][key][lane], of one tile of keys
  // The scores' gradients before the softcap, twice where products are of pairs: pairs of keys for
  // the queries' gradient, and pairs of lanes, of one tile of keys, for the keys'.
  T* by_query;          // [tile of keys][bundle][key][lane]
  T* by_key = nullptr;  // [bundle][key][lane]
  T* gradient;          // [key][lane]
  Range* seen;          // [tile of keys][bundle]: keys with weights, in whole blocks
  int64* ends;          // [tile of keys][bundle][vector]: counted from the first that is seen
  T* slope = nullptr;   // [tile of keys][bundle][lane]
  T* factor;
  BundleRows<T> rows[kBackwardTile.most_bundles];
};

}  // namespace tilewise::cpu
