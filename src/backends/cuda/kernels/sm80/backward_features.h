// What features ask of backward, for kernels that take them: scores shaped and hidden, dropout, and
// the gradients of bias and slopes.
#pragma once

#include "backends/cuda/device/order.h"
#include "backends/cuda/kernels/score/bias.h"
#include "backends/cuda/kernels/sm80/backward_weights.h"

namespace tilewise::cuda::sm80 {

// The softcap's slopes, in float32: pairs of float16 would be felt beside inputs of that type.
template <class Scores>
struct KeptSlopes {
  Scores at;

  TW_DEVICE void keep(const float (&slopes)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) at.at[m][n][i] = slopes[i];
  }
};

// A patch of a head's scores.
struct PatchOf {
  using Corner = score::Corner<score::Lie::kKeysDown>;
  const KeyBlock& block;
  const Patch& patch;
  int32 h;

  // Of a tensor by queries and keys, the element of the lane's first number.
  TW_DEVICE int64 first_of(const Tensor& tensor) const {
    const Corner corner = patch.corner();
    return tensor.offset(block.b, h, corner.query, corner.key);
  }

  // Calls body(number, exists, queries, keys) for each number: whether its query and key exist, and
  // how far they are from those of the lane's first one.
  template <class Numbers, class Body>
  TW_DEVICE void for_each(Numbers& numbers, const Body& body) const {
    const Corner corner = patch.corner();
    const int32 queries = static_cast<int32>(block.queries.length) - corner.query;
    const int32 keys = static_cast<int32>(block.columns.end) - corner.key;
    numbers.each_piece([&](float(&four)[4], int32 m, int32 n) {
      TW_UNROLL
      for (int32 i = 0; i < 4; ++i) {
        const int32 query = Corner::queries_to(m, n, i), key = Corner::keys_to(m, n, i);
        body(four[i], query < queries && key < keys, query, key);
      }
    });
  }
};

// What is known of a patch's scores beside the products.
template <class Traits>
struct Shaping {
  KeptSlopes<typename Traits::Scores> slopes;
  typename Traits::Scores bias;
};

// Element by element: any type, any strides. 0 where there is none.
template <class Scores>
TW_DEVICE void load_bias(const Tensor& bias, const PatchOf& of, Scores& numbers) {
  const uint8* first = place_in(bias, of.first_of(bias));
  const int64 row = bias.stride.row * bias.bytes, column = bias.stride.column * bias.bytes;
  const uint8* at[4];
  int32 count = 0, piece = 0;
  of.for_each(numbers, [&](float&, bool exists, int32 query, int32 key) {
    at[count] = exists ? first + (query * row + key * column) : nullptr;
    if (++count < 4) return;
    load_each(bias.dtype, at, numbers.at[piece / Scores::kAcross][piece % Scores::kAcross]);
    count = 0;
    ++piece;
  });
}

template <class Scores>
TW_DEVICE void add_bias(const Scores& bias, Scores& scores) {
  scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) score::add_bias_to(four[i], bias.at[m][n][i]);
  });
}

// By the boolean mask, element by element.
template <class Scores>
TW_DEVICE void hide_by_elements(const Tensor& visible, const PatchOf& of, Scores& scores) {
  const uint8* first = visible.data + of.first_of(visible);
  of.for_each(scores, [&](float& score, bool exists, int32 query, int32 key) {
    const uint8* at = first + (query * visible.stride.row + key * visible.stride.column);
    if (exists && *at == 0) score::hide(score);
  });
}

template <class Traits>
TW_DEVICE bool is_shaped(const score::Scoring& p) {
  return score::asks<Traits::kFeatures>(p, score::kShaping);
}

// Products to scores in units of log2, where something shapes them.
template <class Traits>
TW_DEVICE void shape(const score::Scoring& p, const PatchOf& of, typename Traits::Scores& scores,
                     Shaping<Traits>& shaping) {
  score::scale_and_cap<Traits::kFeatures>(p, scores, shaping.slopes);
  if (score::asks<Traits::kFeatures>(p, score::kAlibi)) {
    const float slope = load_wide<float>(p.slopes, p.slopes.offset(of.block.b, of.h, 0, 0));
    score::add_alibi(of.patch.corner(), of.block.band.diagonal, score::slope_in_log2(slope),
                     scores);
  }
  if (!score::asks<Traits::kFeatures>(p, score::kBias)) return;
  if constexpr (!Traits::kBiasAhead) load_bias(p.bias, of, shaping.bias);
  add_bias(shaping.bias, scores);
}

// By what the warp has brought.
template <class Traits>
TW_DEVICE void hide_by_bits(const typename Traits::Memory& memory, const Patch& patch,
                            typename Traits::Scores& scores) {
  const auto thread = static_cast<uint32>(thread_index_anew());
  const auto& tile = memory.visible.at[thread / kWarp];
  const auto lane = static_cast<int32>(thread % kWarp);
  const int32 first = patch.row % Traits::kQueriesOfWarp + 2 * (lane & 3);
  scores.each_piece([&](float(&)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 2; ++i)
      score::hide_pair(tile.word(first + n * 8 + i, 0) >> (lane / 4 + m * 16), m, n, i, scores);
  });
}

template <class Traits>
TW_DEVICE void hide_by_masks(const typename Traits::Memory& memory, const score::Scoring& p,
                             const PatchOf& of, typename Traits::Scores& scores) {
  if (score::asks<Traits::kFeatures>(p, score::kVisible)) {
    if constexpr (Traits::kBringsMask)
      hide_by_bits<Traits>(memory, of.patch, scores);
    else
      hide_by_elements(p.mask.visible, of, scores);
  }
  if (score::asks<Traits::kFeatures>(p, score::kBlocks))
    score::hide_blocks<score::Lie::kKeysDown>(blocks_of(p.mask, of.block.b, of.h), of.block.band,
                                              of.patch.query, of.patch.key, scores);
}

// Weights that are dropped become negative, 0 too.
template <class Scores>
TW_DEVICE void mark_dropped(const PatchOf& of, Scores& weights) {
  score::Drawing drawing = of.block.drawing;
  drawing.head += static_cast<uint32>(of.h - of.block.head(0));
  score::for_each_dropped(drawing, of.patch.corner(), weights,
                          [](float& weight, int32, int32, int32) { weight = -weight; });
}

// weights = weights * (keep * gradients - delta), where gradients of what is dropped are 0.
template <class Scores>
TW_DEVICE void multiply_kept(const float* minus_delta, float keep, Scores& weights,
                             Scores& gradients) {
  TW_UNROLL
  for (int32 n = 0; n < Scores::kAcross; ++n) {
    const Two delta = two_at(minus_delta + n * 8);
    TW_UNROLL
    for (int32 m = 0; m < Scores::kDown; ++m) {
      TW_UNROLL
      for (int32 i = 0; i < 4; ++i) {
        float& weight = weights.at[m][n][i];
        const bool is_dropped =
            is_negative(weight) && !wounded(core::Wound::kScoreGradientUndropped);
        const float gradient = is_dropped ? 0.0f : gradients.at[m][n][i] * keep;
        weight = core::absolute(weight) * (gradient + delta.at[i % 2]);
      }
    }
  }
}

template <class Scores>
TW_DEVICE void add_bias_gradient(const Between& to, const PatchOf& of, Scores& gradients) {
  const Axes& stride = to.bias_stride;
  const PatchOf::Corner corner = of.patch.corner();
  float* first = to.bias + (of.block.b * stride.batch + of.h * stride.head +
                            corner.query * stride.row + corner.key * stride.column);
  of.for_each(gradients, [&](float gradient, bool exists, int32 query, int32 key) {
    // What is hidden adds nothing; a NaN does.
    if (exists && gradient != 0)
      add_to(first + (query * stride.row + key * stride.column), gradient);
  });
}

// Where the warp's shares of the slopes' gradients lie: of head 0 of the group.
template <class Traits>
TW_DEVICE float* slope_share(const Backward& p, const KeyBlock& block, int32 g) {
  const int64 tiles = key_tiles(p.shape, p.plan.tiles);
  const int64 head = int64{block.b} * p.shape.heads + block.head(g);
  return p.between.slopes + ((head * tiles + block.tile) * Traits::kWarps + warp_index());
}

template <class Traits>
TW_DEVICE void clear_slope_shares(const Backward& p, const KeyBlock& block) {
  if (lane_index() != 0) return;
  for (int32 g = 0; g < block.heads; ++g) *slope_share<Traits>(p, block, g) = 0;
}

template <class Traits>
TW_DEVICE void add_slope_share(const Backward& p, const PatchOf& of, int32 g,
                               typename Traits::Scores& gradients) {
  float share = 0;
  score::for_each_distance(of.patch.corner(), of.block.band.diagonal, gradients,
                           [&](float gradient, float away) {
                             if (wounded(core::Wound::kSlopeGradientDistance)) away = 1;
                             share -= gradient * away;
                           });
  const float sum = warp_sum(share);
  if (lane_index() == 0) *slope_share<Traits>(p, of.block, g) += sum;
}

// Gradients of scores go where bias and slopes have theirs, and on to the products.
template <class Traits>
TW_DEVICE void give_shares(const Backward& p, const PatchOf& of, int32 g,
                           typename Traits::Scores& gradients, Shaping<Traits>& shaping) {
  if (p.between.bias) add_bias_gradient(p.between, of, gradients);
  if (p.between.slopes) add_slope_share<Traits>(p, of, g, gradients);
  if (score::asks<Traits::kFeatures>(p.scoring, score::kSoftcap) &&
      !wounded(core::Wound::kSoftcapSlopeMissing))
    multiply_each(gradients, shaping.slopes.at);
}

}  // namespace tilewise::cuda::sm80
