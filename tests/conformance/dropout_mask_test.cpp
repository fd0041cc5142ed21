// Forward, backward and the probabilities operation must drop the same weights. Values and output
// gradients are unit vectors, so each element of output and of dV shows one weight.
#include <gtest/gtest.h>

#include <cmath>

#include "conformance/trial.h"
#include "oracle/dropout.h"

namespace tilewise::conformance {
namespace {

constexpr std::int64_t kQueries = 45, kKeys = 70;

Case mask_case(tw_dtype dtype) {
  const PlainSizes sizes{.batch = 2,
                         .queries = kQueries,
                         .keys = kKeys,
                         .heads = 2,
                         .key_heads = 2,
                         .dim = 4,
                         .value_dim = kKeys};
  Case drawn = plain_case(
      14, sizes,
      {.input = dtype, .output = dtype, .lse = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32});
  drawn.dropout = {.probability = 0.37, .seed = 99, .offset = 7, .base = {0, 1, 13, 25}};
  return drawn;
}

TEST(DropoutMask, IsTheSameInEveryPass) {
  for (const tw_dtype dtype : {TW_FLOAT64, TW_FLOAT32, TW_FLOAT16}) {
    const Case drawn = mask_case(dtype);
    Trial trial(drawn);
    fill_value(trial, [](const Index& at) { return at[1] == at[3] ? 1 : 0; });
    for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
      for (std::int64_t d = 0; d < kKeys; ++d) {
        trial.setup.gradients.output.write({b, i, h, d}, i == d ? 1 : 0);
      }
    });
    trial.forward();
    trial.backward();
    trial.probabilities();
    const oracle::Dropout dropout{drawn.dropout.probability, drawn.dropout.seed,
                                  drawn.dropout.offset, 0, drawn.dropout.base};
    for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
      for (std::int64_t j = 0; j < kKeys; ++j) {
        oracle::Dropout sequence = dropout;
        sequence.batch = b;
        const bool kept = oracle::kept(sequence, h, i, j);
        ASSERT_EQ(!std::signbit(trial.setup.probabilities.read({b, h, i, j})), kept);
        ASSERT_EQ(trial.setup.output.read({b, i, h, j}) > 0, kept);
        ASSERT_EQ(trial.setup.gradients.value.read({b, j, h, i}) > 0, kept);
      }
    });
  }
}

TEST(DropoutMask, DecisionsAtTheThresholdAreKept) {
  Case drawn = mask_case(TW_FLOAT32);
  for (const std::int64_t i : {0, 19, 44}) {
    oracle::Dropout dropout{0, drawn.dropout.seed, drawn.dropout.offset, 0, drawn.dropout.base};
    const std::int64_t j = 7 + i;
    const std::uint32_t decision = oracle::decision(dropout, 1, i, j);
    for (const std::uint32_t steps : {decision, decision + 1}) {
      drawn.dropout.probability = steps / 65536.0;
      Trial trial(drawn);
      trial.probabilities();
      EXPECT_EQ(std::signbit(trial.setup.probabilities.read({0, 1, i, j})), steps > decision);
    }
  }
}

// Which elements are kept must not follow from their neighbours, heads or sequences.
TEST(DropoutMask, KeepRateIsWithinFiveSigmaEverywhere) {
  const Case drawn = mask_case(TW_FLOAT32);
  Trial trial(drawn);
  trial.probabilities();
  double kept = 0, agree_head = 0, agree_batch = 0, agree_right = 0, agree_below = 0, count = 0;
  const auto is_kept = [&](std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
    return !std::signbit(trial.setup.probabilities.read({b, h, i, j}));
  };
  for (std::int64_t i = 0; i + 1 < kQueries; ++i) {
    for (std::int64_t j = 0; j + 1 < kKeys; ++j) {
      const bool here = is_kept(0, 0, i, j);
      count += 1;
      kept += here ? 1 : 0;
      agree_head += here == is_kept(0, 1, i, j) ? 1 : 0;
      agree_batch += here == is_kept(1, 0, i, j) ? 1 : 0;
      agree_right += here == is_kept(0, 0, i, j + 1) ? 1 : 0;
      agree_below += here == is_kept(0, 0, i + 1, j) ? 1 : 0;
    }
  }
  const double rate = 1 - drawn.dropout.probability;
  const double agreement = rate * rate + (1 - rate) * (1 - rate);
  const auto within = [&](double got, double probability) {
    return std::fabs(got - count * probability) <
           5 * std::sqrt(count * probability * (1 - probability));
  };
  EXPECT_TRUE(within(kept, rate)) << kept / count;
  EXPECT_TRUE(within(agree_head, agreement)) << agree_head / count;
  EXPECT_TRUE(within(agree_batch, agreement)) << agree_batch / count;
  EXPECT_TRUE(within(agree_right, agreement)) << agree_right / count;
  EXPECT_TRUE(within(agree_below, agreement)) << agree_below / count;
}

}  // namespace
}  // namespace tilewise::conformance
