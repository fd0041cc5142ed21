// Properties of attention for any numbers, which need no oracle.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "conformance/trial.h"

namespace tilewise::conformance {
namespace {

constexpr tw_dtype kDtypes[] = {TW_FLOAT64, TW_FLOAT32, TW_BFLOAT16, TW_FLOAT16};

DtypeCase dtypes_of(tw_dtype input, tw_dtype output) {
  return {.input = input, .output = output, .lse = input == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32};
}

double allowed(tw_dtype dtype, double keys) {
  const double arithmetic = dtype == TW_FLOAT64 ? 0x1p-50 : 0x1p-22;
  return 2 * unit_roundoff(dtype) + arithmetic * std::sqrt(keys);
}

// A random case in which the weights of the values add up to 1.
Case draw_average(std::uint64_t seed, tw_dtype dtype) {
  Case drawn = draw_case(seed);
  drawn.dtypes = dtypes_of(dtype, dtype);
  drawn.scores.has_sinks = false;
  drawn.dropout.probability = 0;
  return drawn;
}

TEST(Properties, ValuesOfOneGiveOne) {
  for (const tw_dtype dtype : kDtypes) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      Trial trial(draw_average(seed, dtype));
      fill_value(trial, [](const Index&) { return 1; });
      trial.forward();
      for_each_query(trial.drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
        const bool sees = std::isfinite(trial.lse(b, i, h));
        const auto keys = static_cast<double>(trial.drawn.keys.length(b));
        for (std::int64_t d = 0; d < trial.drawn.value_dim; ++d) {
          ASSERT_NEAR(trial.output(b, i, h, d), sees ? 1 : 0, sees ? allowed(dtype, keys) : 0)
              << trial.drawn.describe();
        }
      });
    }
  }
}

TEST(Properties, OutputsLieBetweenTheSmallestAndTheLargestValue) {
  for (const tw_dtype dtype : kDtypes) {
    for (std::uint64_t seed = 41; seed <= 80; ++seed) {
      Trial trial(draw_average(seed, dtype));
      const Case& drawn = trial.drawn;
      trial.forward();
      for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
        if (std::isinf(trial.lse(b, i, h))) return;
        const std::int64_t key_head = h / (drawn.heads / drawn.key_heads);
        for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
          double low = std::numeric_limits<double>::infinity(), high = -low;
          for (std::int64_t j = 0; j < drawn.keys.length(b); ++j) {
            const double value = trial.setup.value.read(row_index(drawn.keys, b, j, key_head, d));
            low = std::min(low, value);
            high = std::max(high, value);
          }
          const double slack = allowed(dtype, static_cast<double>(drawn.keys.length(b))) *
                               std::max(std::fabs(low), std::fabs(high));
          ASSERT_GE(trial.output(b, i, h, d), low - slack) << drawn.describe();
          ASSERT_LE(trial.output(b, i, h, d), high + slack) << drawn.describe();
        }
      });
    }
  }
}

TEST(Properties, EqualScoresGiveTheExactMean) {
  for (const tw_dtype dtype : kDtypes) {
    const tw_dtype output = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32;
    for (const std::int64_t keys : {1, 2, 64, 256}) {
      Trial trial(plain_case(3, {.queries = 5, .keys = keys, .heads = 2, .dim = 24, .value_dim = 9},
                             dtypes_of(dtype, output)));
      for_each_query(trial.drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
        for (std::int64_t d = 0; d < 24; ++d) trial.setup.query.write({b, i, h, d}, 0);
      });
      const auto number = [](std::int64_t j, std::int64_t d) {
        return static_cast<double>((7 * j + 3 * d) % 17 - 8);
      };
      fill_value(trial, [&](const Index& at) { return number(at[1], at[3]); });
      trial.forward();
      for (std::int64_t d = 0; d < 9; ++d) {
        double sum = 0;
        for (std::int64_t j = 0; j < keys; ++j) sum += number(j, d);
        for (std::int64_t i = 0; i < 5; ++i) {
          ASSERT_EQ(trial.output(0, i, 1, d), sum / static_cast<double>(keys))
              << name_of(dtype) << ", " << keys << " keys";
        }
      }
    }
  }
}

double lowest_of(tw_dtype dtype) {
  if (dtype == TW_FLOAT64) return std::numeric_limits<double>::lowest();
  if (dtype == TW_FLOAT32) return std::numeric_limits<float>::lowest();
  return decode(TW_BFLOAT16, 0xFF7F);
}

// The bias may also have a wider type than the scores.
TEST(Properties, LowestFiniteBiasOnAWholeRowGivesTheMean) {
  for (const tw_dtype dtype : {TW_FLOAT64, TW_FLOAT32, TW_BFLOAT16}) {
    for (const tw_dtype bias : {dtype, TW_FLOAT64}) {
      SCOPED_TRACE(testing::Message() << name_of(dtype) << " with a bias of " << name_of(bias));
      const tw_dtype wide = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32;
      Case drawn = plain_case(4, {.queries = 3, .keys = 40, .dim = 8, .value_dim = 4},
                              dtypes_of(dtype, wide));
      drawn.scores.has_bias = true;
      drawn.scores.bias_dtype = bias;
      Trial trial(drawn);
      for (std::int64_t j = 0; j < 40; ++j)
        trial.setup.scores.bias.write({0, 0, 1, j}, lowest_of(bias));
      trial.forward();
      for (std::int64_t d = 0; d < 4; ++d) {
        double mean = 0;
        for (std::int64_t j = 0; j < 40; ++j) mean += trial.setup.value.read({0, j, 0, d}) / 40;
        EXPECT_NEAR(trial.output(0, 1, 0, d), mean, 1e-6);
      }
      EXPECT_TRUE(std::isfinite(trial.lse(0, 1, 0)));
    }
  }
}

// With so low a bias on all keys, lse loses some or all digits of log(keys) to rounding. The
// gradients must still be those of the mean.
TEST(Properties, LowBiasOnAWholeRowGivesTheGradientsOfTheMean) {
  constexpr std::int64_t kKeys = 40;
  for (const tw_dtype dtype : {TW_FLOAT64, TW_FLOAT32}) {
    for (const double low : {-1e4, -1e7, -1e9, -1e30, -3.4028234663852886e38}) {
      Case drawn = plain_case(4, {.queries = 1, .keys = kKeys, .dim = 8, .value_dim = 4},
                              dtypes_of(dtype, dtype));
      drawn.scores.has_bias = drawn.gradients.bias = true;
      drawn.scores.bias_dtype = dtype;
      drawn.scores.has_scale = true;  // 0: all scores alike, so that the mean is exact
      Trial trial(drawn);
      for (std::int64_t j = 0; j < kKeys; ++j) trial.setup.scores.bias.write({0, 0, 0, j}, low);
      trial.forward();
      trial.backward();
      for (std::int64_t d = 0; d < 4; ++d) {
        const double incoming = trial.setup.gradients.output.read({0, 0, 0, d});
        for (std::int64_t j = 0; j < kKeys; ++j) {
          const double got = trial.setup.gradients.value.read({0, j, 0, d});
          EXPECT_NEAR(got, incoming / kKeys, 1e-3 * std::abs(incoming) / kKeys)
              << name_of(dtype) << ", bias " << low;
        }
      }
      double sum = 0;
      for (std::int64_t j = 0; j < kKeys; ++j) {
        sum += trial.setup.gradients.bias.read({0, 0, 0, j});
      }
      EXPECT_NEAR(sum, 0, 1e-5) << name_of(dtype) << ", bias " << low;
    }
  }
}

// All scores of a row are equal. With the larger sizes one rounding of a score would change its
// weight by powers of two.
TEST(Properties, LargeEqualScoresGiveTheMeanAndItsGradients) {
  constexpr std::int64_t kQueries = 30, kKeys = 64;
  for (const tw_dtype dtype : {TW_FLOAT64, TW_FLOAT32, TW_BFLOAT16}) {
    const tw_dtype wide = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32;
    for (const double size : {1e2, 1e3, 3e3, 1e4, 1e5, 1e7, 1e9, 1e12, 1e15}) {
      SCOPED_TRACE(testing::Message() << name_of(dtype) << " of " << size);
      // If a kernel multiplies in bfloat16, it rounds all weights to it, and in the same direction.
      const double rounding = dtype == TW_BFLOAT16 ? 0x1p-8 : 0;
      Trial trial(plain_case(5, {.queries = kQueries, .keys = kKeys, .dim = 8, .value_dim = 4},
                             dtypes_of(dtype, wide)));
      for_each_element(trial.setup.query,
                       [&](const Index& at) { trial.setup.query.write(at, size); });
      for_each_element(trial.setup.key,
                       [&](const Index& at) { trial.setup.key.write(at, size * 1.1); });
      trial.forward();
      trial.backward();
      for (std::int64_t d = 0; d < 4; ++d) {
        double mean = 0, incoming = 0;
        for (std::int64_t j = 0; j < kKeys; ++j)
          mean += trial.setup.value.read({0, j, 0, d}) / kKeys;
        for (std::int64_t i = 0; i < kQueries; ++i) {
          EXPECT_NEAR(trial.output(0, i, 0, d), mean, 1e-5 + rounding * std::abs(mean));
          incoming += trial.setup.gradients.output.read({0, i, 0, d}) / kKeys;
        }
        EXPECT_NEAR(trial.setup.gradients.value.read({0, 7, 0, d}), incoming, 1e-2);
      }
    }
  }
}

TEST(Properties, ConstantAddedToEveryLogitMovesLseAlone) {
  constexpr double kConstant = 3.25;
  for (std::uint64_t seed = 200; seed < 230; ++seed) {
    Case drawn = draw_average(seed, TW_FLOAT64);
    drawn.scores.has_bias = true;
    drawn.scores.bias_hides = true;
    drawn.scores.bias_dtype = TW_FLOAT64;
    drawn.scores.steep_slopes = false;  // beside 1000 a constant loses its last digits
    Trial before(drawn), after(drawn);
    for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
      for (std::int64_t j = 0; j < drawn.keys.length(b); ++j) {
        const Index index = broadcast_index(before.setup.scores.bias, {b, h, i, j});
        after.setup.scores.bias.write(index, before.setup.scores.bias.read(index) + kConstant);
      }
    });
    before.forward();
    after.forward();
    for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
      const double lse = before.lse(b, i, h);
      if (std::isinf(lse)) {
        ASSERT_EQ(after.lse(b, i, h), lse);
        return;
      }
      ASSERT_NEAR(after.lse(b, i, h), lse + kConstant, 1e-13);
      for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
        ASSERT_NEAR(after.output(b, i, h, d), before.output(b, i, h, d), 1e-13);
      }
    });
  }
}

TEST(Properties, ScoreGradientsOfARowSumToZero) {
  for (std::uint64_t seed = 300; seed < 330; ++seed) {
    Case drawn = draw_case(seed);
    drawn.scores.has_sinks = false;
    drawn.scores.has_bias = true;
    drawn.scores.bias_broadcast = {};
    drawn.gradients = {};
    drawn.gradients.key = drawn.gradients.value = false;
    Trial trial(drawn);
    trial.forward();
    trial.backward();
    for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
      double sum = 0;
      for (std::int64_t j = 0; j < drawn.keys.length(b); ++j) {
        sum += trial.setup.gradients.bias.read({b, h, i, j});
      }
      ASSERT_NEAR(sum, 0, 1e-12) << drawn.describe();
    });
  }
}

}  // namespace
}  // namespace tilewise::conformance
