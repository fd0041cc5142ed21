// Rows apart: rows whose |lse| is so large that score - lse is too inexact for their weights. They
// are rare: for example, a bias of finfo.min hides all keys, or products overflow. For rows that
// are not apart, the tiles kernel (backward.h) only tests a flag for each tile of queries.
//
// - If the lse was held (clamped), the row's largest score is beyond half of float32's range. Then
//   the lse does not say how many keys have that score and share the weight; log2_held_keys counts
//   them.
// - For other large |lse|, the rounding error of score - lse could make a weight larger than 1.
#pragma once

#include "backends/cuda/device/matrix.h"
#include "backends/cuda/kernels/band.h"
#include "backends/cuda/kernels/place.h"
#include "backends/cuda/kernels/sm80/backward_launch.h"
#include "backends/cuda/kernels/sm80/backward_load.h"
#include "core/score.h"

namespace tilewise::cuda::sm80 {

// Whether an lse in units of log2 was clamped.
TW_DEVICE bool is_held(float lse) {
  return core::absolute(lse) == score::kMostScore;
}

// For an lse below this, rounding makes no weight larger than 1.002.
inline constexpr float kApart = 0x1p+13f;

TW_DEVICE bool is_apart(float lse) {
  return core::absolute(lse) >= kApart && core::absolute(lse) <= score::kMostScore;
}

// A row apart: query `row` of head `h` in sequence `b`.
struct RowApart {
  int64 b, h, row;
  Place queries, keys;
};

// Whether the boolean mask and the block mask let the row see the key; the caller checks the band.
// `features`, here and below, are those that the kernel supports.
template <uint32 features>
TW_DEVICE bool sees(const score::Scoring& p, const RowApart& at, int64 key) {
  if constexpr ((features & (score::kVisible | score::kBlocks)) == 0) return true;
  const Tensor &visible = p.mask.visible, &blocks = p.mask.blocks;
  if (visible && visible.data[visible.offset(at.b, at.h, at.row, key)] == 0) return false;
  if (!blocks) return true;
  return blocks.data[blocks.offset(at.b, at.h, 0, 0) +
                     at.row / p.mask.block_query * blocks.stride.row + key / p.mask.block_key] != 0;
}

template <DType type>
TW_DEVICE float element_of(const uint8* at) {
  const auto code = raw<uint16>(at);
  return type == DType::kBFloat16 ? from_bfloat16(code) : from_float16(code);
}

// The score of a key in natural units, computed by the definitions in core/score.h.
template <DType type, uint32 features>
TW_DEVICE float score_of(const Backward& p, const RowApart& at, int64 key, int64 diagonal) {
  const score::Scoring& asked = p.scoring;
  const int64 key_head = at.h / (p.shape.heads / p.shape.key_heads);
  const uint8* left = p.in.query.at(at.queries.batch, at.h, at.queries.first + at.row);
  const uint8* right = p.in.key.at(at.keys.batch, key_head, at.keys.first + key);
  float product = 0;
  for (int32 n = 0; n < p.in.query.bytes; n += 2)
    product += element_of<type>(left + n) * element_of<type>(right + n);
  const bool caps = score::asks<features>(asked, score::kSoftcap);
  const core::Softcap<float> softcap{caps ? asked.cap_out * core::ln2<float>() : 0.0f};
  float score = core::finite(softcap(p.factors.scale * product));
  if constexpr (features == 0) return score;
  if (asked.slopes) {
    const core::Alibi<float> alibi{
        load_wide<float>(asked.slopes, asked.slopes.offset(at.b, at.h, 0, 0))};
    score = core::finite(alibi(score, core::distance(at.row, key, diagonal)));
  }
  if (asked.bias)
    score =
        core::finite(score + load<float>(asked.bias, asked.bias.offset(at.b, at.h, at.row, key)));
  return score;
}

// log2 of the number of keys that share the weight of a row whose lse was held. If it was held at
// the low end (`is_lowest`), they are all keys that the row sees; else those whose score is at
// least half the largest float.
template <DType type, uint32 features>
TW_DEVICE float log2_held_keys(const Backward& p, const RowApart& at, bool is_lowest) {
  const score::Scoring& asked = p.scoring;
  const core::Band band = band_of(asked.mask, at.queries.length, at.keys.length);
  const core::Range seen = at.keys.batch < 0 ? core::Range{} : band.visible_keys(at.row);
  float count = 0;
  for (int64 key = seen.begin; key < seen.end; ++key) {
    if (!sees<features>(asked, at, key)) continue;
    const bool is_biased_away =
        (features & score::kBias) != 0 && asked.bias &&
        load<float>(asked.bias, asked.bias.offset(at.b, at.h, at.row, key)) ==
            -core::infinity<float>();
    if (is_biased_away) continue;
    if (is_lowest ||
        score_of<type, features>(p, at, key, band.diagonal) >= core::largest<float>() / 2)
      count += 1;
  }
  // If the caller's lse comes from elsewhere, no key may match it.
  return core::log2(core::larger(count, 1.0f));
}

// What remains to be subtracted from the scores of a row apart after shift_apart.
template <DType type, uint32 features>
TW_DEVICE float remaining_lse(const Backward& p, const RowApart& at, float lse) {
  return is_held(lse) ? log2_held_keys<type, features>(p, at, lse < 0) : 0.0f;
}

}  // namespace tilewise::cuda::sm80
