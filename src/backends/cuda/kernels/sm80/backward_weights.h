// From the scores of a warp's keys with some queries to weights and gradients of scores.
#pragma once

#include "backends/cuda/kernels/score/hide.h"
#include "backends/cuda/kernels/sm80/backward_held.h"
#include "backends/cuda/kernels/sm80/backward_traits.h"

namespace tilewise::cuda::sm80 {

// Of a warp, one turn's queries that it has at once.
struct Patch {
  int32 query, key;  // the first of each in the sequence
  int32 row;         // the first query in its tile
  Cover cover;
  uint32 visible;  // of a boolean mask that has come, the lane's bits

  TW_DEVICE score::Corner<score::Lie::kKeysDown> corner() const {
    return score::Corner<score::Lie::kKeysDown>::of(query, key, thread_index_anew() & (kWarp - 1));
  }
};

// Two neighbours.
struct alignas(8) Two {
  float at[2];
};

TW_DEVICE Two two_at(const float* at) {
  return *reinterpret_cast<const Two*>(at);
}

// Calls body(score, number) for what a warp has of each query, with the query's number. `numbers`
// begin at the lane's first query.
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

template <class Traits>
TW_DEVICE float weight_of(float exponent) {
  return Traits::kToTheLast ? exp2_to_the_last(exponent) : exp2_approximate(exponent);
}

// Scores to weights: 2^(score * factor - lse).
template <class Traits>
TW_DEVICE void weigh(const float* lse, float factor, typename Traits::Scores& scores) {
  for_each_with(lse, scores, [factor](float& score, float of_row) {
    score = weight_of<Traits>(multiply_add(score, factor, -of_row));
  });
}

// Scores that something shapes are taken from their lse before. Where weights count down to the
// last, they are larger by so much, so that they are normal numbers.
template <class Traits>
TW_DEVICE constexpr float above_lse() {
  return Traits::kToTheLast ? 64.0f : 0.0f;
}

template <class Traits>
TW_DEVICE void weigh_distances(typename Traits::Scores& scores) {
  scores.each_piece([](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (float& score : four) {
      score = exp2_approximate(score);
      if (Traits::kToTheLast) score *= 0x1p-64f;
    }
  });
}

// Scores of rows that are apart, so that `weigh` makes the right weights of them. Of rows that are
// held, those that nothing tells from the row's largest one become 0, the others -inf. The others
// become what they are below their lse, and rounding makes none larger. `apart`, the rows' own lse,
// begins at the lane's first query.
template <class Scores>
TW_DEVICE void take_apart(const float* apart, score::Measure measure, Scores& scores) {
  constexpr float kTold = -0x1p+107f;  // closer to the largest one than this nothing is told apart
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

// Of weights; with `drops` those that are dropped are negative, and become 0.
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

// Where products begin, so that what they end with is already less delta. Dropout multiplies the
// products alone.
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
