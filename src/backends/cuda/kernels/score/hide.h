// Applies core's masks to the scores in a warp's registers. A hidden score becomes -inf, so its
// weight is 0.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/kernels/score/scoring.h"
#include "backends/cuda/kernels/score/sums.h"
#include "core/mask.h"

namespace tilewise::cuda::score {

TW_DEVICE void hide(float& score) {
  score = -core::infinity<float>();
}

// Clamps scores to [-limit, limit]. Called before keys are hidden, so that afterwards only hidden
// keys have -inf.
template <class Scores>
TW_DEVICE void hold(Scores& scores, float limit) {
  scores.each_piece([&](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (float& score : four) score = held_within(score, limit);
  });
}

// Clamps products to [-limit, limit]. Few exceed it, so their sum is tested first, which costs less
// than clamping each: a product beyond the limit, multiplied by twice the scale, is infinite, and
// then the sum is infinite or NaN.
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

// Clamps scores of which only the hidden ones are -inf; the hidden ones stay -inf.
template <class Scores>
TW_DEVICE void hold_seen(Scores& scores, float limit) {
  scores.each_piece([&](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (float& score : four)
      if (score != -core::infinity<float>()) score = held_within(score, limit);
  });
}

// Hides what the band hides, and keys beyond the last one. Scores have keys down.
template <class Scores>
TW_DEVICE void hide_band(const core::Band& band, Corner<Lie::kKeysDown> corner, Scores& scores) {
  for_each_row_of_lane<Scores>([&](int32 r) {
    const int32 key = corner.down() + r * 8;
    core::Range seen{};
    if (key < band.keys) seen = band.visible_queries(key);
    const int32 begin = static_cast<int32>(seen.begin) - corner.across();
    const int32 end = static_cast<int32>(seen.end) - corner.across();
    scores.each_of_row(r, [&](float& score, int32 column) {
      if (column < begin || column >= end) hide(score);
    });
  });
}

// Hides what the block mask excludes. `query` and `key` are those of the warp's first score, and
// multiples of 16, as are the sizes of the mask's blocks (check_block_size). So each 16 x 16 square
// of the scores lies in one block.
template <Lie lie, class Scores>
TW_DEVICE void hide_blocks(const core::BlockMask& blocks, const core::Band& band, int32 query,
                           int32 key, Scores& scores) {
  TW_UNROLL
  for (int32 m = 0; m < Scores::kDown; ++m) {
    TW_UNROLL
    for (int32 n = 0; n < Scores::kAcross; n += 2) {
      const int64 i = query + Corner<lie>::queries_to(m, n, 0);
      const int64 j = key + Corner<lie>::keys_to(m, n, 0);
      // Beyond the last query or key the mask has no blocks; there hide_band hides.
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
