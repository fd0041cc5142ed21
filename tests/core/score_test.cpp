// Proves the maps of a score: values against the formulas in long double, derivatives against
// central differences, and what tanh, softcap and the change to log2 do at the ends of the range.
#include "core/score.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iostream>
#include <limits>
#include <random>
#include <type_traits>

#include "core/softmax.h"

namespace tilewise::core {
namespace {

template <class T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
template <class T>
constexpr T kMost = std::numeric_limits<T>::max();

// The distance to the exact value, in units of the last place of a T near it.
template <class T>
double ulps(T value, long double exact) {
  const T rounded = std::abs(static_cast<T>(exact));
  const long double place = std::nextafter(rounded, kInfinity<T>) - rounded;
  return static_cast<double>(std::abs(value - exact) / place);
}

struct Sweep {
  int64 points = 0;
  double worst = 0, at = 0;

  template <class T>
  void check(T x) {
    for (T signed_x : {x, -x}) {
      const double error = ulps(tanh(signed_x), std::tanh(static_cast<long double>(signed_x)));
      if (error > worst) at = static_cast<double>(signed_x);
      worst = std::max(worst, error);
      ++points;
    }
  }
};

template <class T>
class Score : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Score, Types);

// All magnitudes at equal steps of their bit patterns, subnormals among them, and densely where
// tanh bends and where its two formulas meet.
TYPED_TEST(Score, TanhIsExactToItsTypeEverywhere) {
  using T = TypeParam;
  using Code = std::conditional_t<sizeof(T) == 4, uint32, uint64>;
  Sweep sweep;
  const auto end = std::bit_cast<Code>(kInfinity<T>);
  const Code step = end / 400'000;
  for (Code code = 0; code < end - step; code += step) sweep.check(std::bit_cast<T>(code));
  for (int n = 0; n < 400'000; ++n) sweep.check(static_cast<T>(25.0 * n / 400'000));
  T x = T(0.5);
  for (int n = 0; n < 2000; ++n) x = std::nextafter(x, T(0));
  for (int n = 0; n < 4000; ++n, x = std::nextafter(x, T(1))) sweep.check(x);
  std::cout << "tanh: " << sweep.points << " points, at most " << sweep.worst << " ulp, at "
            << sweep.at << "\n";
  EXPECT_LE(sweep.worst, 2.5);
  EXPECT_GE(sweep.points, 1'600'000);
}

TYPED_TEST(Score, TanhKeepsSignsAndEnds) {
  using T = TypeParam;
  EXPECT_EQ(tanh(kInfinity<T>), 1);
  EXPECT_EQ(tanh(-kInfinity<T>), -1);
  EXPECT_EQ(tanh(kMost<T>), 1);
  EXPECT_EQ(tanh(-kMost<T>), -1);
  EXPECT_TRUE(std::isnan(tanh(kNan<T>)));
  EXPECT_TRUE(std::isnan(tanh(-kNan<T>)));
  EXPECT_EQ(tanh(T(0)), 0);
  EXPECT_FALSE(std::signbit(tanh(T(0))));
  EXPECT_TRUE(std::signbit(tanh(T(-0.0))));
  const T tiny = std::numeric_limits<T>::denorm_min();
  EXPECT_EQ(tanh(tiny), tiny);
  EXPECT_EQ(tanh(-tiny), -tiny);
  T before = 0;
  for (int n = 0; n <= 100'000; ++n) {
    const T here = tanh(T(30) * static_cast<T>(n) / T(100'000));
    ASSERT_LE(here, T(1));
    ASSERT_LE(before, here + 2 * std::numeric_limits<T>::epsilon());
    before = here;
  }
}

TYPED_TEST(Score, SoftcapIsItsFormula) {
  using T = TypeParam;
  std::mt19937_64 draw(6);
  std::uniform_real_distribution<T> exponents(-20, 20);
  for (int n = 0; n < 200'000; ++n) {
    const Softcap<T> softcap{std::exp2(exponents(draw))};
    const T score = (n % 2 ? 1 : -1) * std::exp2(exponents(draw));
    const long double cap = softcap.cap;
    const long double exact = cap * std::tanh(score / cap);
    ASSERT_LE(ulps(softcap(score), exact), 5) << softcap.cap << " " << score;
    ASSERT_LE(std::abs(softcap(score)), softcap.cap);
  }
  const Softcap<T> softcap{T(30)};
  EXPECT_EQ(softcap(kInfinity<T>), 30);
  EXPECT_EQ(softcap(-kInfinity<T>), -30);
  EXPECT_EQ(softcap(-kMost<T>), -30);
  EXPECT_TRUE(std::isnan(softcap(kNan<T>)));
  EXPECT_EQ(softcap.derivative(T(30)), 0);
  EXPECT_EQ(softcap.derivative(T(0)), 1);
}

TYPED_TEST(Score, NoSoftcapChangesNothing) {
  using T = TypeParam;
  const Softcap<T> none;
  for (T score : {T(0), T(-3), T(1e30), kMost<T>, kInfinity<T>, -kInfinity<T>}) {
    EXPECT_EQ(none(score), score);
    EXPECT_EQ(none.derivative(score), 1);
  }
  EXPECT_TRUE(std::isnan(none(kNan<T>)));
}

// Central differences err by h^2 f''' / 6 and by the rounding of f, divided by h.
TEST(ScoreDerivatives, AgreeWithCentralDifferences) {
  std::mt19937_64 draw(8);
  std::uniform_real_distribution<double> uniform(-6, 6);
  for (int n = 0; n < 100'000; ++n) {
    const Softcap<double> softcap{std::exp2(uniform(draw))};
    const double score = softcap.cap * uniform(draw), step = softcap.cap * 1e-5;
    const double slope = (softcap(score + step) - softcap(score - step)) / (2 * step);
    ASSERT_NEAR(softcap.derivative(softcap(score)), slope, 1e-9) << softcap.cap << " " << score;

    const auto away = static_cast<int64>(draw() % 100'000);
    const Alibi<double> more{1e-3 + 0.5}, less{0.5 - 1e-3};
    const double by_slope = (more(score, away) - less(score, away)) / 2e-3;
    ASSERT_NEAR(Alibi<double>::derivative(away), by_slope, 1e-6 + 1e-8 * static_cast<double>(away));
    const Alibi<double> alibi{0.25};
    ASSERT_NEAR((alibi(score + 1, away) - alibi(score - 1, away)) / 2, 1, 1e-9);
  }
}

TYPED_TEST(Score, AlibiCountsTheDistanceToTheDiagonal) {
  using T = TypeParam;
  const Alibi<T> alibi{T(0.5)};
  for (int64 diagonal : {-5, 0, 3}) {
    for (int64 query = 0; query < 12; ++query) {
      for (int64 key = 0; key < 12; ++key) {
        const int64 away = distance(query, key, diagonal);
        ASSERT_EQ(away, std::abs(query + diagonal - key));
        ASSERT_EQ(alibi(T(2), away), T(2) - T(0.5) * static_cast<T>(away));
      }
    }
  }
  EXPECT_EQ(distance(int64{1} << 40, 0, int64{1} << 40), int64{1} << 41);
  EXPECT_EQ(distance(0, int64{1} << 40, -(int64{1} << 40)), int64{1} << 41);
  EXPECT_EQ(Alibi<T>{}(T(7), 1000), 7);
  EXPECT_EQ(alibi(-kInfinity<T>, 3), -kInfinity<T>);
}

TYPED_TEST(Score, ToLog2ScalesWhatFits) {
  using T = TypeParam;
  std::mt19937_64 draw(9);
  std::uniform_real_distribution<T> exponents(-100, 126);
  for (int n = 0; n < 100'000; ++n) {
    const T score = (n % 2 ? 1 : -1) * std::exp2(exponents(draw));
    ASSERT_LE(ulps(to_log2(score), score / std::log(2.0L)), 1.5);
  }
  EXPECT_EQ(to_log2(T(0)), 0);
}

// A visible score stays finite, or is NaN. A row of lowest numbers keeps equal scores.
TYPED_TEST(Score, ToLog2HoldsWhatWouldOverflow) {
  using T = TypeParam;
  const T lowest = to_log2(-kMost<T>);
  EXPECT_TRUE(std::isfinite(lowest));
  EXPECT_LT(lowest, 0);
  EXPECT_EQ(to_log2(-kMost<T> * T(0.75)), lowest);
  EXPECT_EQ(to_log2(-kInfinity<T>), lowest);
  EXPECT_TRUE(std::isfinite(to_log2(kMost<T>)));
  EXPECT_EQ(to_log2(kMost<T>), -lowest);
  EXPECT_EQ(to_log2(kInfinity<T>), -lowest);
  EXPECT_TRUE(std::isnan(to_log2(kNan<T>)));

  Row<T> row;
  for (int j = 0; j < 8; ++j) {
    raise(row, lowest);
    row.sum += exp2(lowest - shift(row.max));
  }
  EXPECT_EQ(row.sum, 8);
  EXPECT_TRUE(std::isfinite(lse(row)));

  T before = -kInfinity<T>;
  for (T score = -kMost<T>; score < -1; score *= T(0.99)) {
    const T here = to_log2(score);
    ASSERT_LE(before, here);
    ASSERT_EQ(to_log2(-score), -here);
    before = here;
  }
}

}  // namespace
}  // namespace tilewise::core
