// Rows that are apart, for their lse is so large that a weight does not follow from it alone. The
// kernel of the tiles is spared all of this but one question for each tile of queries.
//
// An lse may have been held: the largest score lies beyond half of what float32 holds. Nobody can
// tell of such an lse how many keys have that score, and so what each one's weight is; `rows`
// counts them. These rows are rare: rows of finfo.min, and products that overflow. Of others that
// are large, rounding may take so much that a weight would be larger than 1.
#pragma once

#include "backends/cuda/device/matrix.h"
#include "backends/cuda/kernels/band.h"
#include "backends/cuda/kernels/place.h"
#include "backends/cuda/kernels/sm80/backward_launch.h"
#include "backends/cuda/kernels/sm80/backward_load.h"
#include "core/score.h"

namespace tilewise::cuda::sm80 {

// Of an lse in units of log2.
TW_DEVICE bool is_held(float lse) {
  return core::absolute(lse) == score::kMostScore;
}

// Below this, rounding makes no weight larger than 1.002.
inline constexpr float kApart = 0x1p+13f;

TW_DEVICE bool is_apart(float lse) {
  return core::absolute(lse) >= kApart && core::absolute(lse) <= score::kMostScore;
}

// A query of a head, in its sequence.
struct HeldRow {
  int64 b, h, row;
  Place queries, keys;
};

// `features`, here and below: of which a kernel that counts may be asked.
template <uint32 features>
TW_DEVICE bool sees(const score::Scoring& p, const HeldRow& at, int64 key) {
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

// The score of a key as core's words say it, in natural units.
template <DType type, uint32 features>
TW_DEVICE float score_of(const Backward& p, const HeldRow& at, int64 key, int64 diagonal) {
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

// log2 of how many keys share the row's weight: those that are held as its lse is. Below all others
// they are all that it sees.
template <DType type, uint32 features>
TW_DEVICE float count_held(const Backward& p, const HeldRow& at, bool is_lowest) {
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
  // An lse that was made elsewhere may be held by no key here.
  return core::log2(core::larger(count, 1.0f));
}

// What remains to be subtracted from scores of such a row when the tiles have taken them apart.
template <DType type, uint32 features>
TW_DEVICE float lse_of_apart(const Backward& p, const HeldRow& at, float lse) {
  return is_held(lse) ? count_held<type, features>(p, at, lse < 0) : 0.0f;
}

}  // namespace tilewise::cuda::sm80
