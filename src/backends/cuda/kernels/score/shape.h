// Turns products into scores in units of log2: scale, softcap and its derivative, ALiBi, bias.
// core/score.h defines the same maps for one element; these work on a warp's registers and use the
// GPU's approximate instructions.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/device/matrix.h"
#include "backends/cuda/kernels/score/hide.h"
#include "backends/cuda/kernels/score/scoring.h"
#include "backends/cuda/kernels/score/sums.h"

namespace tilewise::cuda::score {

// Forward passes this in place of an array for the softcap's derivatives, which it does not need.
struct NoDerivatives {
  TW_DEVICE void keep(const float (&)[4], int32, int32) {}
};

// The softcap, cap * tanh(y) with y = score / cap, for small y: a polynomial in exponent = 2y
// log2(e), for -1 < exponent < 1, with a relative error of at most 2^-22. Its coefficients include
// the factor cap_out, so the result is in units of log2.
struct SmallCap {
  float factors[4];

  TW_DEVICE explicit SmallCap(const Scoring& p)
      : factors{3.4657358e-01f * p.cap_out, -1.3875668e-02f * p.cap_out, 6.648683e-04f * p.cap_out,
                -2.945651e-05f * p.cap_out} {}

  TW_DEVICE float operator()(float exponent) const {
    const float square = exponent * exponent;
    float slope = multiply_add(square, factors[3], factors[2]);
    slope = multiply_add(square, slope, factors[1]);
    return exponent * multiply_add(square, slope, factors[0]);
  }
};

// The softcap of four products, cap * tanh(score / cap) in units of log2, by tanh(y) = 1 - 2 / (1 +
// e^2y). One reciprocal serves all four, because reciprocals would delay the exponentials, which
// the same unit computes. The exponent is limited to 30: there tanh is 1 in float32, and the
// product of four terms stays finite. Near 0 this form cancels, and SmallCap is used instead.
// `slopes` receives 1 - tanh^2.
TW_DEVICE void cap(const Scoring& p, const SmallCap& small, float (&four)[4], float (&slopes)[4]) {
  float exponent[4], grown[4];
  TW_UNROLL
  for (int32 i = 0; i < 4; ++i) {
    exponent[i] = four[i] * p.cap_in;
    grown[i] = 1 + exp2_approximate(smaller_or_nan(exponent[i], 30.0f));
  }
  const float low = grown[0] * grown[1], high = grown[2] * grown[3];
  const float all = reciprocal_approximate(low * high), of_low = high * all, of_high = low * all;
  float inverse[4] = {of_low * grown[1], of_low * grown[0], of_high * grown[3], of_high * grown[2]};
  if (all != all) {  // a NaN in one of the four must not spread to the others
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) inverse[i] = reciprocal_approximate(grown[i]);
  }
  TW_UNROLL
  for (int32 i = 0; i < 4; ++i) {
    const bool is_small = core::absolute(exponent[i]) < 1;
    four[i] = is_small ? small(exponent[i]) : multiply_add(inverse[i], -2 * p.cap_out, p.cap_out);
    slopes[i] = multiply_add(-4 * inverse[i], inverse[i], 4 * inverse[i]);
  }
}

// The softcap of all of a warp's products. Returns an upper bound of the lane's scores. Usually all
// scores are far below the cap; then the polynomial alone is used, without exponentials and
// selects.
template <class Scores, class Slopes>
TW_DEVICE float cap_all(const Scoring& p, Scores& scores, Slopes& kept) {
  const SmallCap small(p);
  float largest = 0;
  scores.each_piece([&](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (const float score : four) largest = larger_number(largest, magnitude(score));
  });
  // Below 1 by more than a rounding error, so that cap() would also take each product for small.
  if (warp_any(!(largest * core::absolute(p.cap_in) < 0.9999f))) {
    scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
      float slopes[4];
      cap(p, small, four, slopes);
      kept.keep(slopes, m, n);
    });
    return core::infinity<float>();
  }
  const float inverse = reciprocal_approximate(p.cap_out);
  scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
    float slopes[4];
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) {
      four[i] = small(four[i] * p.cap_in);
      const float tanh = four[i] * inverse;
      slopes[i] = multiply_add(-tanh, tanh, 1);
    }
    kept.keep(slopes, m, n);
  });
  // |tanh(y)| <= |y|, so the bound of the products bounds the scores.
  return largest * core::absolute(p.factor) * 1.0001f;
}

// Multiplies products by scale * log2(e). Products that overflow become infinite.
template <class Scores>
TW_DEVICE void scale(const Scoring& p, Scores& scores) {
  scores.each_piece([&](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (float& score : four) score *= p.factor;
  });
}

// scale() with results clamped to finite numbers. One sum of all results detects overflow, which
// costs less than clamping each.
template <class Scores>
TW_DEVICE void scale_within(const Scoring& p, Scores& scores) {
  float sums[4] = {};
  scores.each_piece([&](float(&four)[4], int32, int32) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) sums[i] = multiply_add(four[i], p.factor, sums[i]);
  });
  const float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  const bool overflows = warp_any(!(core::absolute(sum) <= core::largest<float>()));
  scale(p, scores);
  if (overflows) hold(scores, kMostScore);
}

template <uint32 compiled, class Scores, class Slopes>
TW_DEVICE void scale_and_cap(const Scoring& p, Scores& scores, Slopes& kept) {
  if (asks<compiled>(p, kSoftcap)) {
    const SmallCap small(p);
    scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
      float slopes[4];
      cap(p, small, four, slopes);
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

// ALiBi's slope in units of log2, clamped: an infinite slope times a distance of 0 would be NaN.
TW_DEVICE float slope_in_log2(float slope) {
  return held_within(slope * core::log2e<float>(), core::largest<float>());
}

// Calls body(score, distance from the diagonal) for each score. ALiBi subtracts slope * distance;
// its derivative with respect to the slope is -distance, in natural units.
template <Lie lie, class Scores, class Body>
TW_DEVICE void for_each_distance(Corner<lie> corner, int64 diagonal, Scores& scores,
                                 const Body& body) {
  const auto first = static_cast<float>(corner.query + diagonal - corner.key);
  scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) {
      const int32 further = Corner<lie>::queries_to(m, n, i) - Corner<lie>::keys_to(m, n, i);
      body(four[i], magnitude(first + static_cast<float>(further)));
    }
  });
}

// ALiBi's slope, and the query and key of the warp's first score.
struct Distances {
  float slope;
  Corner<Lie::kQueriesDown> of_warp;
  int64 diagonal;
};

// scores = products * factor - slope * distance. Usually the diagonal does not cut the tile. Then
// the distance is linear along a row, and one multiply-add per score adds it. In a tile that the
// diagonal cuts, or that ends less than a tile's width before the diagonal, each distance is
// computed by itself (first branch): the linear form would lose the low bits of distances near 0.
// With `is_finite` the caller promises finite products, and rounding toward zero keeps the results
// finite. Without it, results that overflow are infinite.
template <bool is_finite, class Scores>
TW_DEVICE void add_distances(const Distances& of, float factor, Scores& scores) {
  const auto add = [](float a, float b, float c) {
    return is_finite ? multiply_add_toward_zero(a, b, c) : multiply_add(a, b, c);
  };
  const auto product = [](float away, float slope) {
    return held_within(rounded_product(away, slope), core::largest<float>());
  };
  const auto corner = Corner<Lie::kQueriesDown>::of(of.of_warp.query, of.of_warp.key, lane_index());
  const int64 nearest = of.of_warp.query + of.diagonal - of.of_warp.key;
  const bool is_before = nearest >= 2 * 8 * Scores::kAcross;
  if (!is_before && nearest + 16 * Scores::kDown - 1 > 0) {
    for_each_distance(corner, of.diagonal, scores, [&](float& score, float away) {
      score = add(score, factor, product(away, -of.slope));
    });
    return;
  }
  const float steep = is_before ? of.slope : -of.slope;
  const auto first = static_cast<float>(corner.query + of.diagonal - corner.key);
  for_each_row_of_lane<Scores>([&](int32 r) {
    const float begin = product(first + static_cast<float>(8 * r), -steep);
    scores.each_of_row(r, [&](float& score, int32 column) {
      score = add(score, factor, multiply_add(static_cast<float>(column), steep, begin));
    });
  });
}

template <Lie lie, class Scores>
TW_DEVICE void add_alibi(Corner<lie> corner, int64 diagonal, float slope, Scores& scores) {
  for_each_distance(corner, diagonal, scores, [&](float& score, float away) {
    score = held_within(multiply_add(away, -slope, score), kMostScore);
  });
}

// Adds one element of a bias. A sum of finite numbers stays finite; -inf hides the key.
TW_DEVICE void add_bias_within(float& score, float bias) {
  score = multiply_add_toward_zero(bias, core::log2e<float>(), score);
}

// Adds one element of a bias and clamps the sum to kMostScore; -inf stays and hides the key.
TW_DEVICE void add_bias_to(float& score, float bias) {
  score = multiply_add_toward_zero(bias, core::log2e<float>(), score);
  if (score != -core::infinity<float>()) score = held_within(score, kMostScore);
}

}  // namespace tilewise::cuda::score
