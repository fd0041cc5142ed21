// Proves that rows form a monoid: any tiling, any order and any tree of merges give the row that
// one pass gives, and what is NaN, infinite, huge or hidden stays what it is.
#include "core/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <random>
#include <vector>

#include "sanitizers.h"

namespace tilewise::core {
namespace {

template <class T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
template <class T>
constexpr T kEpsilon = std::numeric_limits<T>::epsilon();

// What any kernel does with a tile of scores: raise the row, shrink what was accumulated, add.
template <class T>
struct Running {
  Row<T> row;
  T accumulated = 0;

  void take(const T* scores, const T* values, size_t size) {
    T tile_max = -kInfinity<T>;
    for (size_t j = 0; j < size; ++j) tile_max = running_max(tile_max, scores[j]);
    accumulated *= raise(row, tile_max);
    for (size_t j = 0; j < size; ++j) {
      const T probability = exp2(scores[j] - shift(row.max));
      row.sum += probability;
      accumulated += probability * values[j];
    }
  }
};

// The same row in one pass of long double, with the sum of probability * |value| for the bound.
struct Reference {
  long double max = -kInfinity<long double>, sum = 0, accumulated = 0, size = 0;
};

template <class T>
Reference reference(const std::vector<T>& scores, const std::vector<T>& values) {
  Reference row;
  for (T score : scores) row.max = std::max(row.max, static_cast<long double>(score));
  if (std::isinf(row.max)) return row;
  for (size_t j = 0; j < scores.size(); ++j) {
    const long double probability = std::exp2(static_cast<long double>(scores[j]) - row.max);
    row.sum += probability;
    row.accumulated += probability * values[j];
    row.size += probability * std::abs(static_cast<long double>(values[j]));
  }
  return row;
}

// Scores in units of log2: near each other, spread until most of them underflow, all shifted far
// away, or with most keys hidden.
template <class T>
std::vector<T> random_scores(std::mt19937_64& draw) {
  constexpr double kSpreads[] = {0.5, 4, 60, 3000, 4, 4};
  constexpr double kShifts[] = {0, 0, 0, 0, -1.4e5, 1e30};
  const auto family = static_cast<size_t>(draw() % 6);
  std::normal_distribution<double> normal(0, kSpreads[family]);
  const uint64 hidden_in_8 = draw() % 9;
  std::vector<T> scores(1 + draw() % 48);
  for (T& score : scores) {
    const bool hidden = draw() % 8 < hidden_in_8;
    score = hidden ? -kInfinity<T> : static_cast<T>(kShifts[family] + normal(draw));
  }
  return scores;
}

template <class T>
std::vector<T> random_values(std::mt19937_64& draw, size_t size) {
  std::normal_distribution<T> normal;
  std::vector<T> values(size);
  for (T& value : values) value = normal(draw);
  return values;
}

// Sums of `size` terms round once a term; the worst row met has 0.42 of this.
template <class T>
T bound(size_t size) {
  return (static_cast<T>(size) / 4 + 4) * kEpsilon<T>;
}

template <class T>
void expect_same(Row<T> row, Row<T> expected, T relative) {
  ASSERT_EQ(row.max, expected.max);
  ASSERT_LE(std::abs(row.sum - expected.sum), relative * expected.sum);
}

template <class T>
Row<T> row_over(const std::vector<T>& scores) {
  Running<T> running;
  running.take(scores.data(), scores.data(), scores.size());
  return running.row;
}

template <class T>
Row<T> random_row(std::mt19937_64& draw) {
  return row_over(random_scores<T>(draw));
}

template <class T>
class Softmax : public testing::Test {};

using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Softmax, Types);

// Fewer rows under a sanitizer, which is slow and looks for wrong accesses, not for wrong numbers.
constexpr int kRows = TW_ADDRESS_SANITIZER || TW_THREAD_SANITIZER ? 20'000 : 200'000;

TYPED_TEST(Softmax, IsTheSameInAnyTiling) {
  using T = TypeParam;
  std::mt19937_64 draw(1);
  double worst = 0;
  int hidden_rows = 0;
  for (int n = 0; n < kRows && !this->HasFailure(); ++n) {
    const std::vector<T> scores = random_scores<T>(draw);
    const std::vector<T> values = random_values<T>(draw, scores.size());
    Running<T> running;
    for (size_t begin = 0; begin < scores.size();) {
      const size_t size = std::min(scores.size() - begin, static_cast<size_t>(draw() % 17));
      running.take(&scores[begin], &values[begin], size);
      begin += size;
    }
    const Reference exact = reference(scores, values);
    ASSERT_EQ(running.row.max, exact.max);
    const long double relative = bound<T>(scores.size());
    const long double sum_error = std::abs(running.row.sum - exact.sum);
    const long double error = std::abs(running.accumulated - exact.accumulated);
    ASSERT_LE(sum_error, relative * exact.sum) << "row " << n;
    ASSERT_LE(error, relative * exact.size) << "row " << n;
    if (exact.sum > 0) {
      worst = std::max(worst, static_cast<double>(sum_error / (relative * exact.sum)));
    } else {
      ++hidden_rows;
      ASSERT_EQ(running.row.sum, 0);
      ASSERT_EQ(lse(running.row), -kInfinity<T>);
    }
  }
  std::cout << "softmax: " << kRows << " rows, at most " << worst << " of the bound, "
            << hidden_rows << " fully masked\n";
  EXPECT_GE(hidden_rows, kRows / 100);
}

TYPED_TEST(Softmax, HasAnIdentityThatChangesNoBit) {
  using T = TypeParam;
  std::mt19937_64 draw(2);
  const Row<T> nothing;
  for (int n = 0; n < kRows / 10; ++n) {
    const Row<T> row = random_row<T>(draw);
    for (const Row<T> merged : {merge(row, nothing), merge(nothing, row)}) {
      ASSERT_EQ(merged.max, row.max);
      ASSERT_EQ(merged.sum, row.sum);
    }
    Row<T> raised = row;
    const T factor = raise(raised, -kInfinity<T>);
    ASSERT_EQ(raised.max, row.max);
    ASSERT_EQ(raised.sum, row.sum);
    ASSERT_EQ(factor, row.max == -kInfinity<T> ? T(0) : T(1));
  }
}

TYPED_TEST(Softmax, MergesInAnyOrderAndTree) {
  using T = TypeParam;
  std::mt19937_64 draw(3);
  for (int n = 0; n < kRows / 4 && !this->HasFailure(); ++n) {
    const Row<T> a = random_row<T>(draw), b = random_row<T>(draw), c = random_row<T>(draw);
    expect_same(merge(a, b), merge(b, a), T(0));
    expect_same(merge(merge(a, b), c), merge(a, merge(b, c)), 16 * kEpsilon<T>);
    expect_same(merge(merge(a, c), b), merge(a, merge(b, c)), 16 * kEpsilon<T>);
  }
}

// Split keys: each key goes to some part, parts are merged two by two in any order, as rows and by
// their lse alone.
TYPED_TEST(Softmax, MergesPartsIntoTheWhole) {
  using T = TypeParam;
  std::mt19937_64 draw(4);
  for (int n = 0; n < kRows / 4 && !this->HasFailure(); ++n) {
    const std::vector<T> scores = random_scores<T>(draw);
    std::vector<std::vector<T>> parts(1 + draw() % 5);
    for (T score : scores) parts[draw() % parts.size()].push_back(score);
    std::vector<Row<T>> rows;
    Row<T> by_lse;
    for (const std::vector<T>& part : parts) {
      rows.push_back(row_over(part));
      by_lse = merge(by_lse, row_of(lse(rows.back())));
    }
    while (rows.size() > 1) {
      std::swap(rows[draw() % rows.size()], rows.back());
      const Row<T> taken = rows.back();
      rows.pop_back();
      Row<T>& other = rows[draw() % rows.size()];
      other = merge(other, taken);
    }
    const Row<T> whole = row_over(scores);
    expect_same(rows[0], whole, bound<T>(scores.size()));
    if (whole.max == -kInfinity<T>) {
      ASSERT_EQ(lse(by_lse), -kInfinity<T>);
    } else {
      const T error = std::abs(lse(by_lse) - lse(whole));
      ASSERT_LE(error, bound<T>(scores.size()) + 4 * kEpsilon<T> * std::abs(lse(whole)));
    }
  }
}

TYPED_TEST(Softmax, GivesTheLogarithmOfTheDenominatorAndBack) {
  using T = TypeParam;
  std::mt19937_64 draw(5);
  const auto ln2 = std::log(2.0L);
  for (int n = 0; n < kRows && !this->HasFailure(); ++n) {
    const Row<T> row = random_row<T>(draw);
    const T natural = lse(row);
    const Row<T> back = row_of(natural);
    if (row.max == -kInfinity<T>) {
      ASSERT_EQ(natural, -kInfinity<T>);
      ASSERT_EQ(back.max, -kInfinity<T>);
      ASSERT_EQ(back.sum, 0);
      continue;
    }
    const auto exact = (row.max + std::log2(static_cast<long double>(row.sum))) * ln2;
    ASSERT_LE(std::abs(natural - exact), 2 * kEpsilon<T> * (std::abs(exact) + 1));
    ASSERT_EQ(back.sum, 1);
    ASSERT_LE(std::abs(lse(back) - natural), 2 * kEpsilon<T> * std::abs(natural));
  }
  EXPECT_EQ(lse(Row<T>{}), -kInfinity<T>);
  EXPECT_EQ(lse(Row<T>{T(3), T(2)}), static_cast<T>(4 * ln2));
  EXPECT_EQ(lse(Row<T>{T(-1), T(2)}), T(0));
}

// Scores at -infinity are hidden keys; a tile of them, first or last, leaves no trace and no NaN.
TYPED_TEST(Softmax, SeesNothingInHiddenTiles) {
  using T = TypeParam;
  const T hidden[] = {-kInfinity<T>, -kInfinity<T>}, one[] = {T(5)}, values[] = {T(7), T(7)};
  Running<T> running;
  for (int n = 0; n < 3; ++n) {
    running.take(hidden, values, 2);
    EXPECT_EQ(running.row.max, -kInfinity<T>);
    EXPECT_EQ(running.row.sum, 0);
    EXPECT_EQ(running.accumulated, 0);
  }
  running.take(one, values, 1);
  running.take(hidden, values, 2);
  EXPECT_EQ(running.row.max, 5);
  EXPECT_EQ(running.row.sum, 1);
  EXPECT_EQ(running.accumulated, 7);
  EXPECT_EQ(shift(-kInfinity<T>), 0);
  EXPECT_EQ(shift(T(-3)), -3);
  EXPECT_EQ(shift(kInfinity<T>), kInfinity<T>);
}

// NaN and +infinity, among ordinary and hidden scores, in every order and every cut in two tiles.
TYPED_TEST(Softmax, IsNanForGoodOnceItMetNanOrInfinity) {
  using T = TypeParam;
  for (T poison : {kNan<T>, kInfinity<T>}) {
    std::vector<T> scores = {poison, T(2), -kInfinity<T>, std::numeric_limits<T>::max()};
    const T values[] = {T(1), T(1), T(1), T(1)};
    std::vector<size_t> order = {0, 1, 2, 3};
    do {
      std::vector<T> shuffled(order.size());
      for (size_t j = 0; j < order.size(); ++j) shuffled[j] = scores[order[j]];
      for (size_t cut = 0; cut <= 4; ++cut) {
        Running<T> running, first, second;
        running.take(shuffled.data(), values, cut);
        running.take(shuffled.data() + cut, values + cut, 4 - cut);
        first.take(shuffled.data(), values, cut);
        second.take(shuffled.data() + cut, values + cut, 4 - cut);
        const Row<T> merged = merge(first.row, second.row);
        EXPECT_TRUE(std::isnan(running.row.sum));
        EXPECT_TRUE(std::isnan(running.accumulated));
        EXPECT_TRUE(std::isnan(lse(running.row)));
        EXPECT_TRUE(std::isnan(merged.sum));
        EXPECT_TRUE(std::isnan(lse(merged)));
        EXPECT_EQ(std::isnan(merged.max), std::isnan(poison));
      }
    } while (std::next_permutation(order.begin(), order.end()));
  }
  EXPECT_TRUE(std::isnan(lse(row_of(kNan<T>))));
  EXPECT_TRUE(std::isnan(merge(Row<T>{}, row_of(kNan<T>)).sum));
}

// The whole range of finite scores at once: nothing overflows, the largest ones win.
TYPED_TEST(Softmax, HoldsTheLargestFiniteScores) {
  using T = TypeParam;
  const T most = std::numeric_limits<T>::max();
  const T scores[] = {-most, T(0), most, most}, values[] = {T(1), T(2), T(3), T(5)};
  Running<T> running;
  for (size_t j = 0; j < 4; ++j) running.take(&scores[j], &values[j], 1);
  EXPECT_EQ(running.row.max, most);
  EXPECT_EQ(running.row.sum, 2);
  EXPECT_EQ(running.accumulated, 8);
  const Row<T> low{-most, T(3)}, high{most, T(1)};
  EXPECT_EQ(merge(low, high).sum, 1);
  EXPECT_EQ(merge(low, low).sum, 6);
  EXPECT_NEAR(lse(merge(low, high)) / most, std::log(2.0), kEpsilon<T>);
}

TYPED_TEST(Softmax, TakesTheLargerAndNanAboveAll) {
  using T = TypeParam;
  EXPECT_EQ(running_max(T(1), T(2)), 2);
  EXPECT_EQ(running_max(T(2), T(1)), 2);
  EXPECT_EQ(running_max(-kInfinity<T>, T(-1)), -1);
  EXPECT_EQ(running_max(T(1), kInfinity<T>), kInfinity<T>);
  for (T other : {T(1), kInfinity<T>, -kInfinity<T>, kNan<T>}) {
    EXPECT_TRUE(std::isnan(running_max(kNan<T>, other)));
    EXPECT_TRUE(std::isnan(running_max(other, kNan<T>)));
  }
}

}  // namespace
}  // namespace tilewise::core
