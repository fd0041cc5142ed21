// Products to scores in units of log2: scale, softcap, ALiBi, bias. Each map stands beside its
// derivative. core/score.h says the same element by element; here it is made for many elements at
// once, by instructions that the GPU has for it.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/device/matrix.h"
#include "backends/cuda/kernels/score/scoring.h"
#include "backends/cuda/kernels/score/sums.h"

namespace tilewise::cuda::score {

// 1 - tanh^2 of each score of a call with a softcap, as pairs of float16: of piece (m, n),
// registers 0 and 1, and 2 and 3. Backward keeps them until the scores' gradient is there.
template <class Scores>
struct CapSlopes {
  uint32 pair[Scores::kDown][Scores::kAcross][2];

  TW_DEVICE void keep(const float (&slopes)[4], int32 m, int32 n) {
    pair[m][n][0] = pair_of<DType::kFloat16>(slopes[0], slopes[1]);
    pair[m][n][1] = pair_of<DType::kFloat16>(slopes[2], slopes[3]);
  }
};
// What forward gives for it.
struct NoSlopes {
  TW_DEVICE void keep(const float (&)[4], int32, int32) {}
};

// tanh(y) of 2y log2(e) between -1 and 1, off by at most 2^-22 of itself.
TW_DEVICE float tanh_of_small(float exponent) {
  const float square = exponent * exponent;
  float slope = multiply_add(square, -2.945651e-05f, 6.648683e-04f);
  slope = multiply_add(square, slope, -1.3875668e-02f);
  return exponent * multiply_add(square, slope, 3.4657358e-01f);
}

// cap * tanh(score / cap) of four products. tanh(y) = 1 - 2 / (1 + e^2y), and one reciprocal serves
// all four: the unit that makes it makes the exponentials, too. Beyond 2^30 tanh is 1 in float32,
// so the product of four such numbers stays finite. Near 0 that leaves few digits of the score,
// and a polynomial serves. `slopes` get 1 - tanh^2.
TW_DEVICE void cap(const Scoring& p, float (&four)[4], float (&slopes)[4]) {
  float exponent[4], grown[4];
  TW_UNROLL
  for (int32 i = 0; i < 4; ++i) {
    exponent[i] = four[i] * p.cap_in;
    grown[i] = 1 + exp2_approximate(smaller_or_nan(exponent[i], 30.0f));
  }
  const float low = grown[0] * grown[1], high = grown[2] * grown[3];
  const float all = reciprocal_approximate(low * high), of_low = high * all, of_high = low * all;
  float inverse[4] = {of_low * grown[1], of_low * grown[0], of_high * grown[3], of_high * grown[2]};
  if (all != all) {  // a NaN, which is of one of them alone
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) inverse[i] = reciprocal_approximate(grown[i]);
  }
  TW_UNROLL
  for (int32 i = 0; i < 4; ++i) {
    const int32 from = unless(core::Wound::kCapOfFour, i, i | 2);
    const bool is_small = core::absolute(exponent[from]) < 1;
    const float small = p.cap_out * tanh_of_small(exponent[from]);
    four[i] = is_small ? small : multiply_add(inverse[from], -2 * p.cap_out, p.cap_out);
    slopes[i] = multiply_add(-4 * inverse[i], inverse[i], 4 * inverse[i]);
  }
}

// The same of a cap that is at most kMostFewCap, by fewer instructions: scores are off by at most
// 2^-21 of the cap, which a weight does not feel then.
TW_DEVICE void cap_by_few(const Scoring& p, float (&four)[4], float (&slopes)[4]) {
  float grown[4];
  TW_UNROLL
  for (int32 i = 0; i < 4; ++i)
    grown[i] = 1 + exp2_approximate(smaller_or_nan(four[i] * p.cap_in, 30.0f));
  const float low = grown[0] * grown[1], high = grown[2] * grown[3];
  const float all = reciprocal_approximate(low * high), of_low = high * all, of_high = low * all;
  float inverse[4] = {of_low * grown[1], of_low * grown[0], of_high * grown[3], of_high * grown[2]};
  if (all != all) {  // a NaN, which is of one of them alone
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) inverse[i] = reciprocal_approximate(grown[i]);
  }
  TW_UNROLL
  for (int32 i = 0; i < 4; ++i) {
    const float from = inverse[unless(core::Wound::kCapOfFour, i, i | 2)];
    four[i] = multiply_add(from, -2 * p.cap_out, p.cap_out);
    slopes[i] = multiply_add(-4 * inverse[i], inverse[i], 4 * inverse[i]);
  }
}

template <uint32 compiled, class Scores, class Slopes>
TW_DEVICE void scale_and_cap(const Scoring& p, Scores& scores, Slopes& kept) {
  if (asks<compiled>(p, kSoftcap)) {
    scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
      float slopes[4];
      cap(p, four, slopes);
      kept.keep(slopes, m, n);
    });
    return;
  }
  scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
    TW_UNROLL
    for (float& score : four) score = held_within(score * p.factor, kMostScore);
    kept.keep({1, 1, 1, 1}, m, n);
  });
}

// ALiBi's slope in units of log2. Held, for infinity times a distance of 0 would be NaN.
TW_DEVICE float slope_in_log2(float slope) {
  return held_within(slope * core::log2e<float>(), core::largest<float>());
}

// A key counts less the further it lies from the diagonal. The derivative by the slope, in natural
// units, is -distance; calls body(score, distance) for both.
template <Lie lie, class Scores, class Body>
TW_DEVICE void for_each_distance(Corner<lie> corner, int64 diagonal, Scores& scores,
                                 const Body& body) {
  const auto first = static_cast<float>(corner.query + diagonal - corner.key);
  scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) {
      const int32 further = Corner<lie>::queries_to(m, n, i) - Corner<lie>::keys_to(m, n, i);
      body(four[i], core::absolute(first + static_cast<float>(further)));
    }
  });
}

template <Lie lie, class Scores>
TW_DEVICE void add_alibi(Corner<lie> corner, int64 diagonal, float slope, Scores& scores) {
  for_each_distance(corner, diagonal, scores, [&](float& score, float away) {
    score = held_within(multiply_add(away, -slope, score), kMostScore);
  });
}

// One element of a bias. Of finite numbers the sum is finite; -inf hides the key.
TW_DEVICE void add_bias_to(float& score, float bias) {
  score = multiply_add_toward_zero(bias, core::log2e<float>(), score);
  if (score != -core::infinity<float>()) score = held_within(score, kMostScore);
}

}  // namespace tilewise::cuda::score
