// Scores beyond half the largest number of their type are set to this half, with their sign. Vector
// lanes without a query have no effect.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "conformance/check.h"
#include "conformance/trial.h"

namespace tilewise::conformance {
namespace {

DtypeCase dtypes_of(tw_dtype dtype) {
  return {.input = dtype, .output = dtype, .lse = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32};
}

// These numbers of queries leave lanes of the last vector empty. Slopes are steep and of both
// signs, over up to 200 keys, so exp would overflow in an empty lane that took part.
TEST(Held, LanesWithoutAQueryHaveNoWeights) {
  for (const tw_dtype dtype : {TW_FLOAT32, TW_FLOAT64, TW_FLOAT16, TW_BFLOAT16}) {
    for (const std::int64_t queries : {1, 5, 19, 33}) {
      Case drawn = plain_case(
          static_cast<std::uint64_t>(queries),
          {.queries = queries, .keys = 200, .heads = 4, .key_heads = 2, .dim = 8, .value_dim = 8},
          dtypes_of(dtype));
      drawn.scores.has_slopes = drawn.scores.steep_slopes = true;
      drawn.scores.has_bias = queries % 4 == 1;
      drawn.scores.bias_broadcast = {true, false, true, false};
      drawn.gradients.slopes = drawn.gradients.bias = true;
      const Report report = check_case(drawn);
      EXPECT_TRUE(report.ok()) << report.sentences();
      EXPECT_GT(report.compared(), 0);
    }
  }
}

// Cases of huge scores. In the first channel queries are `size`, and keys `size`, -`size` or 0; all
// else is 0. So q.k is 0 or +-size^2, which is beyond the type's range.
struct Huge {
  double size;
  tw_dtype dtype;
  std::int64_t queries;
};

constexpr std::int64_t kKeys = 40;

int sign_of(std::int64_t key) {
  return key % 3 == 0 ? 1 : key % 3 == 1 ? -1 : 0;
}

Case huge_case(const Huge& huge) {
  Case drawn = plain_case(7, {.queries = huge.queries, .keys = kKeys, .dim = 16, .value_dim = 16},
                          dtypes_of(huge.dtype));
  drawn.scores.has_scale = true;
  drawn.scores.scale = 1;
  return drawn;
}

void fill_huge(Trial& trial, double size) {
  for_each_query(trial.drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
    for (std::int64_t d = 0; d < 16; ++d) trial.setup.query.write({b, i, h, d}, d == 0 ? size : 0);
  });
  for_each_key(trial.drawn, [&](std::int64_t b, std::int64_t j, std::int64_t h) {
    for (std::int64_t d = 0; d < 16; ++d) {
      trial.setup.key.write({b, j, h, d}, d == 0 ? size * sign_of(j) : 0);
    }
  });
}

std::vector<Huge> huge_ones() {
  std::vector<Huge> all;
  for (const std::int64_t queries : {1, 3, 40}) {
    all.push_back({2e19, TW_FLOAT32, queries});
    all.push_back({2e19, TW_BFLOAT16, queries});
    all.push_back({1e160, TW_FLOAT64, queries});
  }
  return all;
}

// Expects each output row to be the mean of the values whose keys have `sign`, which is the
// scale's: these keys share the largest score, so their weights are equal. Expects lse to be half
// the largest number.
void expect_mean_of(int sign, const Trial& trial) {
  double mean[16] = {}, count = 0;
  for (std::int64_t j = 0; j < kKeys; ++j) {
    if (sign_of(j) != sign) continue;
    ++count;
    for (std::int64_t d = 0; d < 16; ++d) mean[d] += trial.setup.value.read({0, j, 0, d});
  }
  const double half = trial.drawn.dtypes.lse == TW_FLOAT64 ? std::numeric_limits<double>::max() / 2
                                                           : std::numeric_limits<float>::max() / 2;
  for (std::int64_t i = 0; i < trial.drawn.queries.length(0); ++i) {
    for (std::int64_t d = 0; d < 16; ++d)
      ASSERT_NEAR(trial.output(0, i, 0, d), mean[d] / count, 0.01) << "row " << i;
    ASSERT_NEAR(trial.lse(0, i, 0) / half, 1, 1e-6);
  }
}

void expect_finite(const std::vector<const Field*>& fields) {
  for (const Field* field : fields)
    for_each_element(*field, [&](const Index& at) { ASSERT_TRUE(std::isfinite(field->read(at))); });
}

// dV is the weight, equal for all keys of that sign, times the sum of the output's gradients.
void expect_gradients_of(int sign, const Trial& trial) {
  double count = 0;
  for (std::int64_t j = 0; j < kKeys; ++j) count += sign_of(j) == sign ? 1 : 0;
  for (std::int64_t d = 0; d < 16; ++d) {
    double sum = 0;
    for (std::int64_t i = 0; i < trial.drawn.queries.length(0); ++i)
      sum += trial.setup.gradients.output.read({0, i, 0, d});
    for (std::int64_t j = 0; j < kKeys; ++j)
      ASSERT_NEAR(trial.setup.gradients.value.read({0, j, 0, d}),
                  sign_of(j) == sign ? sum / count : 0, 0.02)
          << "key " << j;
  }
  expect_finite({&trial.setup.gradients.query, &trial.setup.gradients.key});
}

TEST(Held, ScoresOfBothSigns) {
  for (const Huge& huge : huge_ones()) {
    for (const int sign : {1, -1}) {
      Case drawn = huge_case(huge);
      drawn.scores.scale = sign;
      SCOPED_TRACE(drawn.describe());
      Trial trial(drawn);
      fill_huge(trial, huge.size);
      trial.forward();
      expect_mean_of(sign, trial);
      trial.backward();
      expect_gradients_of(sign, trial);
      trial.probabilities();
      for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
        for (std::int64_t j = 0; j < kKeys; ++j)
          ASSERT_EQ(trial.setup.probabilities.read({b, h, i, j}), sign_of(j) == sign ? 1 : 0);
      });
    }
  }
}

// A score beyond the range, and a distance or bias beyond it in the other direction, give no NaN.
TEST(Held, ScoresThatOverflowBothWays) {
  for (const Huge& huge : huge_ones()) {
    for (const double slope : {3e38, -3e38}) {
      Case drawn = huge_case(huge);
      drawn.scores.has_slopes = drawn.scores.has_bias = true;
      drawn.scores.bias_dtype = drawn.dtypes.lse;
      drawn.gradients.slopes = drawn.gradients.bias = true;
      SCOPED_TRACE(drawn.describe());
      Trial trial(drawn);
      fill_huge(trial, huge.size);
      trial.setup.scores.slopes.write({0}, slope);
      const double most = huge.dtype == TW_FLOAT64 ? std::numeric_limits<double>::max()
                                                   : std::numeric_limits<float>::max();
      for_each_element(trial.setup.scores.bias, [&](const Index& at) {
        trial.setup.scores.bias.write(at, at[3] % 2 == 0 ? most : -most);
      });
      trial.forward();
      trial.backward();
      trial.probabilities();
      const GradientFields& gradients = trial.setup.gradients;
      expect_finite({&trial.setup.output, &trial.setup.lse, &trial.setup.probabilities,
                     &gradients.query, &gradients.key, &gradients.value, &gradients.bias});
    }
  }
}

}  // namespace
}  // namespace tilewise::conformance
