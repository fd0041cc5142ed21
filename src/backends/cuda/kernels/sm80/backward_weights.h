// Steps on a warp's registers of scores: weights, and the gradients of scores.
#pragma once

#include "backends/cuda/kernels/score/hide.h"
#include "backends/cuda/kernels/sm80/backward_apart.h"
#include "backends/cuda/kernels/sm80/backward_traits.h"

namespace tilewise::cuda::sm80 {

// The scores that a warp computes at once: those of its keys with some queries of the visit's tile.
struct Patch {
  int32 query, key;  // the first of each, in the sequence
  int32 row;         // the first query, in its tile
  Cover cover;
  uint32 visible;  // the lane's bits of the boolean mask, in featured kernels

  TW_DEVICE score::Corner<score::Lie::kKeysDown> corner() const {
    return score::Corner<score::Lie::kKeysDown>::of(query, key, thread_index_anew() & (kWarp - 1));
  }
};

// Two adjacent floats, loaded by one instruction.
struct alignas(8) Two {
  float at[2];
};

TW_DEVICE Two two_at(const float* at) {
  return *reinterpret_cast<const Two*>(at);
}

// Calls body(score, number) for each score. `numbers` has one for each query, and begins at the
// lane's first query.
template <class Scores, class Body>
TW_DEVICE void for_each_with(const float* numbers, Scores& scores, const Body& body) {
  TW_UNROLL
  for (int32 n = 0; n < Scores::kAcross; ++n) {
    const Two two = two_at(numbers + n * 8);
    TW_UNROLL
    for (int32 m = 0; m < Scores::kDown; ++m) {
      TW_UNROLL
      for (int32 i = 0; i < 4; ++i) body(scores.at[m][n][i], two.at[i % 2]);
    }
  }
}

// 2^exponent; with subnormal results only in kernels that keep them.
template <class Traits>
TW_DEVICE float weight_of(float exponent) {
  return Traits::kKeepsTinyWeights ? exp2_with_subnormals(exponent) : exp2_approximate(exponent);
}

// Turns scores into weights: 2^(score * factor - lse).
template <class Traits>
TW_DEVICE void weigh(const float* lse, float factor, typename Traits::Scores& scores) {
  for_each_with(lse, scores, [factor](float& score, float of_row) {
    score = weight_of<Traits>(multiply_add(score, factor, -of_row));
  });
}

// What weigh_distances expects to be added to score - lse. In kernels that keep subnormal weights,
// adding 64 moves weights into the normal range, where exp2_approximate does not flush them;
// weigh_distances divides them by 2^64 again.
template <class Traits>
TW_DEVICE constexpr float above_lse() {
  return Traits::kKeepsTinyWeights ? 64.0f : 0.0f;
}

// Turns score - lse + above_lse() into weights.
template <class Traits>
TW_DEVICE void weigh_distances(typename Traits::Scores& scores) {
  scores.each_piece([](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (float& score : four) {
      score = exp2_approximate(score);
      if (Traits::kKeepsTinyWeights) score *= 0x1p-64f;
    }
  });
}

// Adjusts the scores of rows apart, so that weigh() returns the right weights. In a row whose lse
// was held, scores that cannot be told from the largest one become 0; all others are so far below
// that their weight is 0. In other rows apart a score becomes score - lse, at most 0. `apart` has
// the rows' lse (0 for rows not apart), from the lane's first query on.
template <class Scores>
TW_DEVICE void shift_apart(const float* apart, score::Measure measure, Scores& scores) {
  // Near the largest score, float32 cannot reliably tell scores apart that are closer than this.
  constexpr float kTold = -0x1p+107f;
  const float inverse = reciprocal_approximate(measure.factor);
  scores.each_piece([&](float(&four)[4], int32, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) {
      const float of_row = apart[n * 8 + i % 2];
      const float within = held_within(four[i], measure.limit);
      float below = smaller_or_nan(multiply_add(within, measure.factor, -of_row), 0.0f) * inverse;
      if (is_held(of_row) && below * measure.factor > kTold) below = 0;
      if (of_row != 0) four[i] = below;
    }
  });
}

// Rounds scores to pairs of the inputs' type.
template <class Traits>
TW_DEVICE void round_pairs(typename Traits::Scores& scores, typename Traits::Pairs& pairs) {
  scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
    pairs.at[m][n][0] = pair_of<Traits::kType>(four[0], four[1]);
    pairs.at[m][n][1] = pair_of<Traits::kType>(four[2], four[3]);
  });
}

TW_DEVICE bool is_negative(float number) {
  return __builtin_bit_cast(int32, number) < 0;
}

// Rounds weights to pairs. With `drops`, dropped weights (sign bit set) become 0.
template <class Traits>
TW_DEVICE void round_weights(bool drops, typename Traits::Scores& weights,
                             typename Traits::Pairs& pairs) {
  if (!drops) return round_pairs<Traits>(weights, pairs);
  const auto kept = [](float weight) { return is_negative(weight) ? 0.0f : weight; };
  weights.each_piece([&](float(&four)[4], int32 m, int32 n) {
    pairs.at[m][n][0] = pair_of<Traits::kType>(kept(four[0]), kept(four[1]));
    pairs.at[m][n][1] = pair_of<Traits::kType>(kept(four[2]), kept(four[3]));
  });
}

// Starts the accumulators at -delta, so that delta need not be subtracted later. With dropout they
// start at 0, because dropout's factor applies to the products but not to delta.
template <class Scores>
TW_DEVICE void begin_with(const float* minus_delta, bool drops, Scores& sums) {
  if (drops) return sums.clear();
  for_each_with(minus_delta, sums, [](float& sum, float of_row) { sum = of_row; });
}

// weights *= gradients
template <class Scores>
TW_DEVICE void multiply_each(Scores& weights, Scores& gradients) {
  weights.each_piece([&](float(&four)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) four[i] *= gradients.at[m][n][i];
  });
}

}  // namespace tilewise::cuda::sm80
