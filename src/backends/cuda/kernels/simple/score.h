// Scores of a warp's queries with a tile of keys, and what the band hides of them. Scores stay
// products here: raising a row and weighting multiply by the measure's factor on the way.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/kernels/simple/traits.h"

namespace tilewise::cuda::simple {

// Fragments of the warp's queries, from registers or from shared memory.
template <class Traits>
struct Query {
  static constexpr int32 kHeld = Traits::kHoldsQuery ? Traits::kDim / 16 : 1;
  SharedAddress lane;
  Fragment held[Traits::kDown][kHeld];

  TW_DEVICE Fragment read(int32 m, int32 k) const {
    return load_matrices(Traits::QueryTile::moved(lane, m * 16, k));
  }

  // When the queries have come.
  TW_DEVICE void hold() {
    if constexpr (Traits::kHoldsQuery) {
      TW_UNROLL
      for (int32 m = 0; m < Traits::kDown; ++m) {
        TW_UNROLL
        for (int32 k = 0; k < kHeld; ++k) held[m][k] = read(m, k);
      }
    }
  }

  TW_DEVICE Fragment operator()(int32 m, int32 k) const {
    if constexpr (Traits::kHoldsQuery) {
      return held[m][k];
    } else {
      return read(m, k);
    }
  }
};

// scores = query . key. `key` is where the lane begins to read the tile, across.
template <class Traits>
TW_DEVICE void score(const Query<Traits>& query, SharedAddress key,
                     typename Traits::Scores& scores) {
  scores.clear();
  Traits::ScoreProduct::add(scores, query, [&](int32 n, int32 k) {
    return load_matrices(Traits::KeyTile::moved(key, n * 16, k));
  });
}

// Products that overflowed, back among the finite numbers: only hidden keys have -inf.
template <class Scores>
TW_DEVICE void hold(Scores& scores, float limit) {
  for_each_row_of_lane<Scores>([&](int32 r) {
    scores.each_of_row(r, [&](float& score, int32) { score = held_within(score, limit); });
  });
}

// -inf where a row does not see the key. The tile's keys begin at `first_key`.
template <class Scores>
TW_DEVICE void mask(const Head& head, int32 first_key, Scores& scores) {
  const int32 thread = thread_index_anew();
  const int64 first_row = head.rows.begin + first_row_of(thread);
  const int32 origin = first_key + first_column_of(thread);
  for_each_row_of_lane<Scores>([&](int32 r) {
    const Range seen = head.band.visible_keys(first_row + r * 8);
    const int32 begin = static_cast<int32>(seen.begin) - origin;
    const int32 end = static_cast<int32>(seen.end) - origin;
    scores.each_of_row(r, [&](float& score, int32 column) {
      if (column < begin || column >= end) score = -core::infinity<float>();
    });
  });
}

}  // namespace tilewise::cuda::simple
