// The oracle's forward against results worked out by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "oracle/attention.h"

namespace tilewise::oracle {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTiny = 1e-15;

Tensor column(const std::vector<double>& values) {
  Tensor result({static_cast<std::int64_t>(values.size()), 1, 1});
  result.values = values;
  return result;
}

// One head, one query of 1: the scores are the keys themselves, as scale is 1.
Attention one_query(const std::vector<double>& scores, const std::vector<double>& values) {
  Attention problem;
  problem.query = column({1});
  problem.key = column(scores);
  problem.value = column(values);
  return problem;
}

// `queries` queries of 0, so every visible key weighs the same.
Attention equal_scores(std::int64_t queries, const std::vector<double>& values) {
  Attention problem = one_query(std::vector<double>(values.size(), 1.0), values);
  problem.query = Tensor({queries, 1, 1});
  return problem;
}

void expect_output(const Result& result, const std::vector<double>& expected) {
  ASSERT_EQ(result.output.values.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(result.output.values[i], expected[i], kTiny * (1 + expected[i])) << "element " << i;
  }
}

TEST(Oracle, SoftmaxOfLogarithmsIsTheirRatio) {
  const Result result = forward(one_query({0, std::log(2.0), std::log(3.0)}, {6, 12, 18}));
  expect_output(result, {(6 + 2 * 12 + 3 * 18) / 6.0});
  EXPECT_NEAR(result.lse.at(0, 0), std::log(6.0), kTiny);
  EXPECT_NEAR(result.weights.at(0, 0, 1), 2 / 6.0, kTiny);
  EXPECT_NEAR(result.probabilities.at(0, 0, 0), 1 / 3.0, kTiny);
  EXPECT_EQ(result.probabilities.at(0, 0, 2), 1);
}

TEST(Oracle, ScaleIsOneOverTheRootOfTheDimension) {
  Attention problem = one_query({0, 0}, {0, 3});
  problem.query = Tensor({1, 1, 4}, 1);
  problem.key = Tensor({2, 1, 4});
  for (std::int64_t d = 0; d < 4; ++d) problem.key.at(1, 0, d) = std::log(2.0) / 2;
  expect_output(forward(problem), {2});  // 4 * log(2) / 2 / sqrt(4) = log 2
  problem.scale = -0.5;
  expect_output(forward(problem), {1});
  problem.scale = 0;
  expect_output(forward(problem), {1.5});
}

TEST(Oracle, CausalIsBottomRightUnlessToldOtherwise) {
  Attention problem = equal_scores(2, {1, 3, 8});
  problem.band.right = 0;
  expect_output(forward(problem), {2, 4});
  problem.band.diagonal = Diagonal::kTopLeft;
  expect_output(forward(problem), {1, 2});
  problem.band.diagonal = Diagonal::kShifted;
  problem.band.shift = -1;
  expect_output(forward(problem), {0, 1});
  EXPECT_EQ(forward(problem).lse.at(0, 0), -kInfinity);
}

TEST(Oracle, WindowsCountFromTheDiagonal) {
  Attention problem = equal_scores(3, {1, 2, 4});
  problem.band.left = 1;
  problem.band.right = 0;
  expect_output(forward(problem), {1, 1.5, 3});
  problem.band.left.reset();
  problem.band.right = -1;
  expect_output(forward(problem), {0, 1, 1.5});
  problem.band.left = -1;
  problem.band.right = 1;
  expect_output(forward(problem), {2, 4, 0});
}

TEST(Oracle, ChunksRoundDownBelowZero) {
  Attention problem = equal_scores(4, {1, 2, 4, 8});
  problem.band.chunk = 2;
  expect_output(forward(problem), {1.5, 1.5, 6, 6});
  problem.band.diagonal = Diagonal::kShifted;
  problem.band.shift = -1;  // query 0 lies in chunk -1, where no key is
  expect_output(forward(problem), {0, 1.5, 1.5, 6});
}

TEST(Oracle, SinkJoinsTheDenominatorOnly) {
  Attention problem = one_query({0, std::log(2.0)}, {3, 6});
  problem.sinks = {std::log(3.0)};
  const Result result = forward(problem);
  expect_output(result, {(3 + 2 * 6) / 6.0});
  EXPECT_NEAR(result.lse.at(0, 0), std::log(6.0), kTiny);
  EXPECT_EQ(result.probabilities.at(0, 0, 1), 1);  // the sink is above it, yet is no key
}

TEST(Oracle, RowThatSeesNothing) {
  Attention problem = one_query({1, 2}, {3, 6});
  problem.hidden.visible = Tensor({1, 1, 1}, 0);
  expect_output(forward(problem), {0});
  EXPECT_EQ(forward(problem).lse.at(0, 0), -kInfinity);
  problem.sinks = {0.75};
  expect_output(forward(problem), {0});
  EXPECT_EQ(forward(problem).lse.at(0, 0), 0.75);
  const Gradients gradients =
      backward(problem, forward(problem), {Tensor({1, 1, 1}, 5), Tensor({1, 1}, 2)});
  EXPECT_EQ(gradients.sinks[0], 2);  // the lse is the sink
  EXPECT_EQ(gradients.value.at(0, 0, 0), 0);
}

TEST(Oracle, SoftcapBendsAfterTheScale) {
  Attention problem = one_query({0, 4}, {0, 1});
  problem.scale = 0.5;
  problem.softcap = 2;
  const double score = 2 * std::tanh(1.0);
  expect_output(forward(problem), {std::exp(score) / (1 + std::exp(score))});
}

TEST(Oracle, AlibiTakesTheDistanceFromTheDiagonal) {
  Attention problem = equal_scores(2, {1, 2, 4});
  problem.slopes = {std::log(2.0)};
  // The diagonal is 1: distances are 1 0 1 and 2 1 0.
  expect_output(forward(problem), {(0.5 + 2 + 2) / 2, (0.25 + 1 + 4) / 1.75});
}

TEST(Oracle, BiasAddsAndMinusInfinityHides) {
  Attention problem = one_query({0, 0, 0}, {1, 2, 50});
  problem.bias = Tensor({1, 1, 3});
  problem.bias.values = {0, std::log(3.0), -kInfinity};
  expect_output(forward(problem), {7 / 4.0});
  problem.bias.values.assign(3, std::numeric_limits<double>::lowest());
  expect_output(forward(problem), {53 / 3.0});
  problem.key.values.assign(3, -1e300);
  expect_output(forward(problem), {53 / 3.0});
}

TEST(Oracle, BooleanAndBlockMasksHide) {
  Attention problem = equal_scores(2, {1, 2, 4});
  problem.hidden.visible = Tensor({1, 2, 3}, 1);
  problem.hidden.visible.at(0, 1, 0) = 0;
  expect_output(forward(problem), {7 / 3.0, 3});
  problem.hidden.blocks = Tensor({1, 1, 2}, 1);
  problem.hidden.blocks.at(0, 0, 1) = 0;
  problem.hidden.block_query = 16;
  problem.hidden.block_key = 2;
  expect_output(forward(problem), {1.5, 2});
}

TEST(Oracle, QueryHeadsShareKeyHeadsInOrder) {
  Attention problem = one_query({0}, {0});
  problem.query = Tensor({1, 6, 1}, 1);
  problem.key = Tensor({1, 2, 1}, 1);
  problem.value = Tensor({1, 2, 1});
  problem.value.values = {10, 20};
  expect_output(forward(problem), {10, 10, 10, 20, 20, 20});
}

TEST(Oracle, DroppedProbabilitiesAreNegativeAndKeptOnesGrow) {
  Attention problem = equal_scores(40, std::vector<double>(50, 1.0));
  problem.dropout = Dropout{.probability = 0.25, .seed = 7, .offset = 9, .batch = 2, .base = {}};
  const Result result = forward(problem);
  for (std::int64_t i = 0; i < 40; ++i) {
    int kept_keys = 0;
    for (std::int64_t j = 0; j < 50; ++j) {
      const bool is_kept = kept(*problem.dropout, 0, i, j);
      kept_keys += is_kept ? 1 : 0;
      EXPECT_EQ(result.probabilities.at(0, i, j), is_kept ? 1 : -1);
    }
    EXPECT_NEAR(result.output.at(i, 0, 0), kept_keys / 50.0 * 4 / 3, 1e-14);
    EXPECT_NEAR(result.lse.at(0, i), std::log(50.0), kTiny * 4);
  }
}

TEST(Oracle, NanInAVisibleScoreMakesItsRowNan) {
  Attention problem = equal_scores(2, {1, 2, 4});
  problem.band.right = 0;
  problem.key.at(2, 0, 0) = std::numeric_limits<double>::quiet_NaN();
  const Result result = forward(problem);
  EXPECT_NEAR(result.output.at(0, 0, 0), 1.5, kTiny);
  EXPECT_TRUE(std::isnan(result.output.at(1, 0, 0)));
  EXPECT_TRUE(std::isnan(result.lse.at(0, 1)));
}

TEST(Oracle, NoKeysAndNoQueries) {
  Attention problem = one_query({}, {});
  problem.key = Tensor({0, 1, 1});
  problem.value = Tensor({0, 1, 1});
  expect_output(forward(problem), {0});
  EXPECT_EQ(forward(problem).lse.at(0, 0), -kInfinity);
  problem.query = Tensor({0, 1, 1});
  EXPECT_TRUE(forward(problem).output.values.empty());
}

}  // namespace
}  // namespace tilewise::oracle
