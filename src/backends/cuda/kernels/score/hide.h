// Hides scores: they become -inf, and no weight comes of them. What core's masks say, over a warp's
// registers.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/kernels/score/scoring.h"
#include "backends/cuda/kernels/score/sums.h"
#include "core/mask.h"

namespace tilewise::cuda::score {

TW_DEVICE void hide(float& score) {
  score = -core::infinity<float>();
}

// Scores that overflowed, back among the finite numbers: only hidden keys have -inf.
template <class Scores>
TW_DEVICE void hold(Scores& scores, float limit) {
  scores.each_piece([&](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (float& score : four) score = held_within(score, limit);
  });
}

// The same, for products, which seldom overflow: to add each to a sum that is finite while all of
// them are costs less. Times twice the scale, what lies beyond the limit is infinite.
template <class Scores>
TW_DEVICE void hold(Scores& scores, Measure measure) {
  const float factor = measure.factor * (2.00001f / core::log2e<float>());
  float sums[4] = {};
  scores.each_piece([&](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) sums[i] = multiply_add(four[i], factor, sums[i]);
  });
  const float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  if (warp_any(!(core::absolute(sum) <= core::largest<float>()))) hold(scores, measure.limit);
}

// Of scores that are finite where they are not hidden: hidden ones stay so.
template <class Scores>
TW_DEVICE void hold_seen(Scores& scores, float limit) {
  scores.each_piece([&](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (float& score : four)
      if (score != -core::infinity<float>()) score = held_within(score, limit);
  });
}

// What the band does not let see, and keys behind the last one. Where so many heads share a tile of
// queries, rows count them too.
template <Lie lie, class Scores>
TW_DEVICE void hide_band(const core::Band& band, Corner<lie> corner, Scores& scores,
                         int32 heads_in_tile = 1) {
  for_each_row_of_lane<Scores>([&](int32 r) {
    int32 row = corner.down() + r * 8;
    if (heads_in_tile > 1) row /= heads_in_tile;
    core::Range seen{};
    if (lie == Lie::kQueriesDown)
      seen = band.visible_keys(row);
    else if (row < band.keys)
      seen = band.visible_queries(row);
    const int32 begin = static_cast<int32>(seen.begin) - corner.across();
    const int32 end = static_cast<int32>(seen.end) - corner.across();
    scores.each_of_row(r, [&](float& score, int32 column) {
      if (column < begin || column >= end) hide(score);
    });
  });
}

// What the block mask does not have. Blocks begin at multiples of 16, and so do the warp's scores:
// `query` and `key` are those of its first. So a piece of 16 x 16 lies in one block.
template <Lie lie, class Scores>
TW_DEVICE void hide_blocks(const core::BlockMask& blocks, const core::Band& band, int32 query,
                           int32 key, Scores& scores) {
  TW_UNROLL
  for (int32 m = 0; m < Scores::kDown; ++m) {
    TW_UNROLL
    for (int32 n = 0; n < Scores::kAcross; n += 2) {
      const int64 i = query + Corner<lie>::queries_to(m, n, 0);
      const int64 j = key + Corner<lie>::keys_to(m, n, 0);
      // Behind the last query or key there is no block to ask; there the band hides.
      if (i >= band.queries || j >= band.keys || blocks.visible(i, j)) continue;
      TW_UNROLL
      for (int32 half = 0; half < 2; ++half) {
        TW_UNROLL
        for (float& score : scores.at[m][n + half]) hide(score);
      }
    }
  }
}

}  // namespace tilewise::cuda::score
