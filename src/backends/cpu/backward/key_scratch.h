// Scratch memory of a task of KeyPass.
#pragma once

#include "backends/cpu/backward/differentiate.h"
#include "backends/cpu/policy.h"

namespace tilewise::cpu {

inline constexpr int64 kKeys = kBackwardTile.keys;

// The pitch of rows of `columns` numbers. Products read a few columns of all rows. With short
// vectors those columns are one cache line, and rows a power of two apart would share a few sets of
// L1, so the pitch is an odd number of lines. With vectors as long as a line, products read four
// lines of a row, and gaps would only take room.
template <class T>
int64 spread(const Kernels<T>& kernels, int64 columns) {
  constexpr int64 kNumbers = kLine / static_cast<int64>(sizeof(T));
  return kernels.lanes == kNumbers ? columns : (core::ceil_div(columns, kNumbers) | 1) * kNumbers;
}

// One side of the products: keys with queries, or values with gradients of the output.
template <class T>
struct KeySide {
  KeySide(const Kernels<T>& kernels, int64 dim, int64 task_keys, int64 lanes, Arena& arena)
      : columns(core::round_up(dim, kernels.lanes)), pitch(spread(kernels, columns)) {
    data = arena.take<T>((task_keys + kKeysBeyond) * pitch);
    gradient = arena.take<T>(task_keys * pitch);
    rows = arena.take<T>(lanes * pitch);
    next_rows.at = arena.take<std::byte*>(lanes);
  }

  int64 columns, pitch;  // of a row, in whole vectors, and from one to the next
  T* data;               // [key][dim], for scores
  T* gradient;           // [key][dim]
  T* rows;               // [bundle][lane, or pair of lanes][dim], for add_product
  RowList next_rows;     // of the next tile of queries
};

template <class T>
struct KeyScratch {
  KeyScratch(const Problem& p, const Kernels<T>& kernels, int64 task_keys, Arena& arena)
      : bundles(core::larger(int64{1}, kBackwardTile.query_lanes / kernels.pitch)),
        scores(p, kernels, arena),
        key(kernels, p.shape.dim, task_keys, bundles * kernels.pitch, arena),
        value(kernels, p.shape.value_dim, task_keys, bundles * kernels.pitch, arena) {
    const int64 lanes = kernels.pitch, tile = kKeys * lanes;
    list.at = arena.take<std::byte*>(core::larger(task_keys, lanes));
    key_right = key.data;
    if (kernels.pairs())
      key_right = arena.take<T>((task_keys + kKeysBeyond) / kernels.packed() * key.pitch);
    // Tile registers of AMX read rows behind the last row.
    weights = arena.take<T>(bundles * tile + kKeysBeyond * lanes);
    gradient.by_query =
        arena.take<T>((bundles * task_keys / kernels.packed() + kKeysBeyond) * lanes);
    if (kernels.pairs()) gradient.by_key = arena.take<T>(bundles * tile + kKeysBeyond * lanes);
    if (p.scores.softcap > 0) gradient.capped = arena.take<T>(tile);
    visible.keys = arena.take<Range>(bundles * (task_keys / kKeys));
    visible.ends = arena.take<int64>(bundles * (task_keys / kKeys) * (lanes / kernels.lanes));
    if (p.gradients.slopes) slope = arena.take<T>(bundles * lanes * (task_keys / kKeys));
    factor = arena.take<T>(core::larger(task_keys, lanes));
    for (int64 m = 0; m < bundles; ++m) rows[m] = BundleRows<T>(p, kernels, arena);
  }

  int64 bundles;
  ScoreScratch<T> scores;
  KeySide<T> key, value;
  RowList list;
  T* key_right;  // keys as add_product takes them
  T* weights;    // [bundle][key][lane], of one tile of keys
  // The scores' gradients before the softcap. Products of pairs need two copies: pairs of keys for
  // the queries' gradient, and pairs of lanes, of one tile of keys, for the keys' gradient.
  struct {
    T* by_query;          // [tile of keys][bundle][key][lane]
    T* by_key = nullptr;  // [bundle][key][lane]
    T* capped = nullptr;  // [key][lane], after the softcap, if there is one
  } gradient;
  struct {
    Range* keys;  // [tile of keys][bundle]: keys seen, in whole blocks
    int64* ends;  // [tile of keys][bundle][vector]: ScoreTile::ends
  } visible;
  T* slope = nullptr;  // [tile of keys][bundle][lane]
  T* factor;
  BundleRows<T> rows[kBackwardTile.most_bundles];
};

}  // namespace tilewise::cpu
