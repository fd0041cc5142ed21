// The features in backward, for the kernels that support them: softcap, ALiBi and bias, masks, and
// dropout.
#pragma once

#include "backends/cuda/kernels/score/bias.h"
#include "backends/cuda/kernels/sm80/backward_weights.h"

namespace tilewise::cuda::sm80 {

// The derivative of the softcap for each score. It is kept in float32, because rounding it to
// float16 would add a noticeable error to the gradients of float16 inputs.
template <class Scores>
struct SoftcapDerivatives {
  Scores at;

  TW_DEVICE void keep(const float (&derivatives)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) at.at[m][n][i] = derivatives[i];
  }
};

// A patch of scores with its block, its query head `h` and the stage that holds its queries.
struct PatchContext {
  using Corner = score::Corner<score::Lie::kKeysDown>;
  const KeyBlock& block;
  const Patch& patch;
  int32 h, stage;

  // The offset of the lane's first score in a tensor with a row per query and a column per key.
  TW_DEVICE int64 first_of(const Tensor& tensor) const {
    const Corner corner = patch.corner();
    return tensor.offset(block.b, h, corner.query, corner.key);
  }

  // Calls body(number, exists, query, key) for each of the lane's numbers. `exists` says whether
  // its query and key exist; `query` and `key` are relative to those of the lane's first number.
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

// What turns the products of a patch into weights and score gradients.
template <class Traits>
struct Shaping {
  SoftcapDerivatives<typename Traits::Scores> softcap_derivatives;
  typename Traits::Scores bias;
  const float* lse;  // the lse of the lane's first query; those of the others follow
};

// Loads the bias element by element, of any type and with any strides. 0 where no score exists.
template <class Scores>
TW_DEVICE void load_bias(const Tensor& bias, const PatchContext& context, Scores& numbers) {
  const uint8* first = place_in(bias, context.first_of(bias));
  const int64 row = bias.stride.row * bias.bytes, column = bias.stride.column * bias.bytes;
  const uint8* at[4];
  int32 count = 0, piece = 0;
  context.for_each(numbers, [&](float&, bool exists, int32 query, int32 key) {
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

// Applies the boolean mask, read from global memory element by element.
template <class Scores>
TW_DEVICE void hide_by_elements(const Tensor& visible, const PatchContext& context,
                                Scores& scores) {
  const uint8* first = visible.data + context.first_of(visible);
  context.for_each(scores, [&](float& score, bool exists, int32 query, int32 key) {
    const uint8* at = first + (query * visible.stride.row + key * visible.stride.column);
    if (exists && *at == 0) score::hide(score);
  });
}

template <class Traits>
TW_DEVICE bool is_shaped(const score::Scoring& p) {
  return score::asks<Traits::kFeatures>(p, score::kShaping);
}

// Calls body(score, bias) for each score. The bias is read from a tile in shared memory.
template <class Traits, class Body>
TW_DEVICE void for_each_bias(const typename Traits::BiasTile& tile, const Patch& patch,
                             typename Traits::Scores& scores, const Body& body) {
  using BiasTile = typename Traits::BiasTile;
  const auto thread = static_cast<uint32>(thread_index_anew());
  const auto lane = static_cast<int32>(thread % kWarp), warp = static_cast<int32>(thread / kWarp);
  const SharedAddress first =
      BiasTile::moved(BiasTile::across(shared_address(&tile), lane), patch.row,
                      warp / Traits::kTiles.query_warps * Traits::kDown);
  TW_UNROLL
  for (int32 m = 0; m < Traits::kDown; ++m) {
    TW_UNROLL
    for (int32 n = 0; n < Traits::kAcross; n += 2) {
      const Fragment f = load_matrices_transposed(BiasTile::moved(first, n * 8, m));
      TW_UNROLL
      for (int32 j = 0; j < 8; ++j)
        body(scores.at[m][n + j / 4][j % 4], score::half_of<Traits::kType>(f.pair[j / 2], j % 2));
    }
  }
}

// The softcap for scores below about a third of the cap (the range of score::SmallCap): an odd
// polynomial in the product, whose factors include the scale.
struct SoftcapPolynomial {
  float factors[4], inverse;

  TW_DEVICE explicit SoftcapPolynomial(const score::Scoring& p) {
    const score::SmallCap small(p);
    const float square = p.cap_in * p.cap_in;
    float power = p.cap_in;
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) {
      factors[i] = small.factors[i] * power;
      power *= square;
    }
    const float of_cap = reciprocal_approximate(p.cap_out);
    inverse = -of_cap * of_cap;
  }

  TW_DEVICE float operator()(float product) const {
    const float square = product * product;
    float slope = multiply_add(square, factors[3], factors[2]);
    slope = multiply_add(square, slope, factors[1]);
    return product * multiply_add(square, slope, factors[0]);
  }

  // The derivative, 1 - tanh^2, from the capped score.
  TW_DEVICE float derivative_at(float capped) const {
    return multiply_add(capped * inverse, capped, 1);
  }
};

// Up to here, the seventh power is finite in float32.
inline constexpr float kMostOfPower = 0x1p+15f;

// Whether SoftcapPolynomial may be used for all products of a warp: they are in its range, and none
// of their powers overflows.
template <class Scores>
TW_DEVICE bool are_far_below_cap(const score::Scoring& p, Scores& products) {
  float largest = 0;
  products.each_piece([&](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (const float product : four) largest = larger_number(largest, magnitude(product));
  });
  // Slightly below 1, because each product is rounded on its own.
  const float in = core::absolute(p.cap_in);
  const bool is_near = !(largest * in < 0.9999f) || largest > kMostOfPower || in > kMostOfPower;
  return !warp_any(is_near);
}

// Whether a product of the warp, times `factor`, overflows or is NaN. The sum of each lane's
// products shows this, which costs less than testing each. Also true if only the sum overflows.
template <class Scores>
TW_DEVICE bool any_overflows(float factor, Scores& products) {
  float sums[4] = {};
  products.each_piece([&](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) sums[i] = multiply_add(four[i], factor, sums[i]);
  });
  const float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return warp_any(!(core::absolute(sum) <= core::largest<float>()));
}

// Whether shape_fast may be used for a patch without rows apart. The lse of its rows is not huge,
// so a visible score that overflows is -infinity and has weight 0. But a bias of -infinity may hide
// a product of +infinity, and their sum would be NaN; so calls with a bias test for overflow.
template <class Traits>
TW_DEVICE bool allow_fast_shaping(const score::Scoring& p, typename Traits::Scores& products) {
  constexpr uint32 kFeatures = Traits::kFeatures;
  if (score::asks<kFeatures>(p, score::kSoftcap)) return are_far_below_cap(p, products);
  return !score::asks<kFeatures>(p, score::kBias) || !any_overflows(p.factor, products);
}

// Turns products into score - lse + above_lse() in units of log2. Call it only if
// allow_fast_shaping permits it. Everything that is added to a score is summed first, so that one
// multiply-add adds it.
template <class Traits>
TW_DEVICE void shape_fast(const score::Scoring& p, typename Traits::Memory& memory,
                          const PatchContext& context, typename Traits::Scores& scores,
                          Shaping<Traits>& shaping) {
  constexpr uint32 kFeatures = Traits::kFeatures;
  using Scores = typename Traits::Scores;
  Scores added;
  for_each_with(shaping.lse, added,
                [](float& sum, float of_row) { sum = above_lse<Traits>() - of_row; });
  if (score::asks<kFeatures>(p, score::kAlibi)) {
    const float slope = memory.rows[context.stage].tile.slope;
    score::for_each_distance(context.patch.corner(), context.block.band.diagonal, added,
                             [&](float& sum, float away) {
                               // The product is separate from the sum, so that the compiler
                               // computes it once for scores of equal distance. Rounding toward
                               // zero keeps it finite.
                               sum += multiply_add_toward_zero(away, -slope, 0.0f);
                             });
  }
  if constexpr (Traits::kLoadsBias)
    if (score::asks<kFeatures>(p, score::kBias))
      for_each_bias<Traits>(
          memory.bias.at[context.stage], context.patch, added,
          [](float& sum, float bias) { sum = multiply_add(bias, core::log2e<float>(), sum); });
  const bool caps = score::asks<kFeatures>(p, score::kSoftcap);
  const SoftcapPolynomial cap(p);
  scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
    float derivatives[4];
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) {
      const float capped = caps ? cap(four[i]) : four[i];
      derivatives[i] = cap.derivative_at(capped);
      four[i] = multiply_add(capped, caps ? 1.0f : p.factor, added.at[m][n][i]);
    }
    if (caps) shaping.softcap_derivatives.keep(derivatives, m, n);
  });
}

// Turns products into scores in units of log2, also where shape_fast may not be used. Scores that
// overflow are clamped at each step, so that they stay finite. A bias of -infinity makes them
// -infinity, which hides the key; NaN stays NaN.
template <class Traits>
TW_DEVICE void shape(const score::Scoring& p, typename Traits::Memory& memory,
                     const PatchContext& context, typename Traits::Scores& scores,
                     Shaping<Traits>& shaping) {
  score::scale_and_cap<Traits::kFeatures>(p, scores, shaping.softcap_derivatives);
  if (score::asks<Traits::kFeatures>(p, score::kAlibi))
    score::add_alibi(context.patch.corner(), context.block.band.diagonal,
                     memory.rows[context.stage].tile.slope, scores);
  if (!score::asks<Traits::kFeatures>(p, score::kBias)) return;
  if constexpr (Traits::kLoadsBias) {
    for_each_bias<Traits>(memory.bias.at[context.stage], context.patch, scores,
                          [](float& score, float bias) { score::add_bias_to(score, bias); });
  } else {
    if constexpr (!Traits::kPrefetchesBias) load_bias(p.bias, context, shaping.bias);
    add_bias(shaping.bias, scores);
  }
}

// The lane's bits of the boolean mask, from shared memory.
template <class Traits>
TW_DEVICE uint32 visible_bits(const score::Scoring& p, const typename Traits::Memory& memory,
                              int32 stage) {
  const auto thread = static_cast<uint32>(thread_index_anew());
  return memory.visible.at[stage * Traits::kWarps + static_cast<int32>(thread / kWarp)].take(
      p.mask.visible.stride.row == 0, static_cast<int32>(thread % kWarp));
}

// Applies the boolean mask from the warp's part in shared memory, packed to bits.
template <class Traits>
TW_DEVICE void hide_by_bits(typename Traits::Memory& memory, const Patch& patch,
                            typename Traits::Scores& scores) {
  const auto thread = static_cast<uint32>(thread_index_anew());
  const auto& tile = memory.visible.at[static_cast<int32>(thread / kWarp)];
  const auto lane = static_cast<int32>(thread % kWarp);
  const int32 first = patch.row % Traits::kQueriesOfWarp + 2 * (lane & 3);
  scores.each_piece([&](float(&)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 2; ++i)
      score::hide_pair(tile.word(first + n * 8 + i, 0) >> (lane / 4 + m * 16), m, n, i, scores);
  });
}

template <class Traits>
TW_DEVICE void hide_by_masks(typename Traits::Memory& memory, const score::Scoring& p,
                             const PatchContext& context, typename Traits::Scores& scores) {
  if (score::asks<Traits::kFeatures>(p, score::kVisible)) {
    if constexpr (Traits::kIsFeatured)
      score::hide_unseen_columns<typename Traits::VisibleTile>(context.patch.visible, scores);
    else if constexpr (Traits::kLoadsMask)
      hide_by_bits<Traits>(memory, context.patch, scores);
    else
      hide_by_elements(p.mask.visible, context, scores);
  }
  if (!Traits::kIsFeatured && score::asks<Traits::kFeatures>(p, score::kBlocks))
    score::hide_blocks<score::Lie::kKeysDown>(blocks_of(p.mask, context.block.b, context.h),
                                              context.block.band, context.patch.query,
                                              context.patch.key, scores);
}

// Marks dropped weights by their sign bit; a weight of 0 becomes -0.
template <class Scores>
TW_DEVICE void mark_dropped(const PatchContext& context, Scores& weights) {
  score::Drawing drawing = context.block.drawing;
  drawing.head += static_cast<uint32>(context.h - context.block.head(0));
  score::for_each_dropped(drawing, context.patch.corner(), weights,
                          [](float& weight, int32, int32, int32) { weight = -weight; });
}

// weights = |weights| * (keep * gradients - delta). Where the sign bit marks a dropped weight, 0
// takes the place of keep * gradient.
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
        const float gradient = is_negative(weight) ? 0.0f : gradients.at[m][n][i] * keep;
        weight = core::absolute(weight) * (gradient + delta.at[i % 2]);
      }
    }
  }
}

// Multiplies the weights by the softcap's derivatives, so that the score gradients computed from
// the weights include them. The gradients of bias and slopes exclude them; calls that want those
// get no featured kernel with a softcap (featured_set).
template <class Traits>
TW_DEVICE void multiply_by_softcap_derivatives(Shaping<Traits>& shaping,
                                               typename Traits::Scores& weights) {
  multiply_each(weights, shaping.softcap_derivatives.at);
}

}  // namespace tilewise::cuda::sm80
