// Every gradient of the oracle against central differences of its forward, feature by feature and
// all features at once; and merging parts against the whole.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "oracle/attention.h"
#include "oracle/merge.h"
#include "oracle/random.h"

namespace tilewise::oracle {
namespace {

constexpr std::int64_t kQueries = 5, kKeys = 7, kHeads = 4, kKeyHeads = 2, kDim = 3, kValueDim = 2;

Tensor gauss(std::vector<std::int64_t> shape, Random& random) {
  Tensor result(std::move(shape));
  for (double& value : result.values) value = random.normal();
  return result;
}

enum Feature : unsigned {
  kScaled = 1U,
  kCapped = 2U,
  kSloped = 4U,
  kBiased = 8U,
  kSunk = 16U,
  kBanded = 32U,
  kHidden = 64U,
  kDropped = 128U,
  kEverything = 255U
};

struct Trial {
  Attention problem;
  Arriving arriving;
};

void add_masks(Attention& problem, unsigned features, Random& random) {
  if ((features & kBanded) != 0) {
    problem.band = {.left = 4, .right = 1, .diagonal = Diagonal::kBottomRight, .shift = 0};
  }
  if ((features & kHidden) == 0) return;
  problem.hidden.visible = Tensor({kHeads, kQueries, kKeys}, 1);
  for (double& each : problem.hidden.visible.values) each = random.chance(0.8) ? 1 : 0;
  for (std::int64_t j = 0; j < kKeys; ++j) problem.hidden.visible.at(1, 2, j) = 0;
  problem.hidden.block_query = 3;
  problem.hidden.block_key = 2;
  problem.hidden.blocks = Tensor({1, 2, 4}, 1);
  problem.hidden.blocks.at(0, 1, 1) = 0;
}

Trial make_trial(unsigned features, std::uint64_t seed) {
  Random random(seed);
  Trial trial;
  Attention& problem = trial.problem;
  problem.query = gauss({kQueries, kHeads, kDim}, random);
  problem.key = gauss({kKeys, kKeyHeads, kDim}, random);
  problem.value = gauss({kKeys, kKeyHeads, kValueDim}, random);
  if ((features & kScaled) != 0) problem.scale = -0.8;
  if ((features & kCapped) != 0) problem.softcap = 1.3;
  if ((features & kSloped) != 0) problem.slopes = {0.1, 0.25, 0.5, -0.3};
  if ((features & kBiased) != 0) {
    problem.bias = gauss({kHeads, kQueries, kKeys}, random);
    problem.bias.at(0, 1, 2) = -std::numeric_limits<double>::infinity();
  }
  if ((features & kSunk) != 0) problem.sinks = {0.5, -1, 2, 0};
  add_masks(problem, features, random);
  if ((features & kDropped) != 0) {
    problem.dropout =
        Dropout{.probability = 0.4, .seed = seed, .offset = 3, .batch = 1, .base = {1, 2, 14, 30}};
  }
  trial.arriving.output = gauss({kQueries, kHeads, kValueDim}, random);
  trial.arriving.lse = gauss({kHeads, kQueries}, random);
  return trial;
}

double loss(const Trial& trial) {
  const Result result = forward(trial.problem);
  double sum = 0;
  for (std::size_t n = 0; n < result.output.values.size(); ++n) {
    sum += result.output.values[n] * trial.arriving.output.values[n];
  }
  for (std::size_t n = 0; n < result.lse.values.size() && !trial.arriving.lse.absent(); ++n) {
    if (std::isfinite(result.lse.values[n])) {
      sum += result.lse.values[n] * trial.arriving.lse.values[n];
    }
  }
  return sum;
}

void expect_slopes(Trial& trial, std::vector<double>& parameters,
                   const std::vector<double>& gradient, const char* name) {
  constexpr double kStep = 1e-5;
  for (std::size_t n = 0; n < parameters.size(); ++n) {
    const double kept_value = parameters[n];
    if (std::isinf(kept_value)) continue;
    parameters[n] = kept_value + kStep;
    const double above = loss(trial);
    parameters[n] = kept_value - kStep;
    const double below = loss(trial);
    parameters[n] = kept_value;
    const double difference = (above - below) / (2 * kStep);
    EXPECT_NEAR(gradient[n], difference, 1e-8 + 1e-6 * std::fabs(difference))
        << name << " element " << n;
  }
}

void expect_gradients(Trial& trial) {
  const Gradients gradients = backward(trial.problem, forward(trial.problem), trial.arriving);
  Attention& problem = trial.problem;
  expect_slopes(trial, problem.query.values, gradients.query.values, "query");
  expect_slopes(trial, problem.key.values, gradients.key.values, "key");
  expect_slopes(trial, problem.value.values, gradients.value.values, "value");
  expect_slopes(trial, problem.bias.values, gradients.bias.values, "bias");
  expect_slopes(trial, problem.slopes, gradients.slopes, "slopes");
  expect_slopes(trial, problem.sinks, gradients.sinks, "sinks");
}

TEST(OracleGradients, MatchFiniteDifferencesInEveryCombination) {
  for (unsigned features = 0; features <= kEverything; ++features) {
    // At most two features, or all but at most two. The other combinations only take time.
    const int count = __builtin_popcount(features);
    if (count > 2 && count < 6) continue;
    SCOPED_TRACE(::testing::Message() << "features " << features);
    Trial trial = make_trial(features, 100 + features);
    expect_gradients(trial);
  }
}

TEST(OracleGradients, MatchWithoutTheLseGradient) {
  for (const unsigned features : {0U, static_cast<unsigned>(kSunk | kDropped), 255U}) {
    Trial trial = make_trial(features, 500 + features);
    trial.arriving.lse = Tensor();
    expect_gradients(trial);
  }
}

TEST(OracleGradients, SmallBiasIsTheSumOfTheFullGradient) {
  Trial trial = make_trial(kEverything & ~kBiased, 900);
  Random random(901);
  trial.problem.bias = gauss({1, kQueries, 1}, random);
  const Gradients gradients = backward(trial.problem, forward(trial.problem), trial.arriving);
  std::vector<double> reduced(kQueries);
  for (std::int64_t h = 0; h < kHeads; ++h) {
    for (std::int64_t i = 0; i < kQueries; ++i) {
      for (std::int64_t j = 0; j < kKeys; ++j) {
        reduced[static_cast<std::size_t>(i)] += gradients.bias.at(h, i, j);
      }
    }
  }
  expect_slopes(trial, trial.problem.bias.values, reduced, "bias");
}

Attention keys_between(const Attention& whole, std::int64_t first, std::int64_t last) {
  Attention part = whole;
  part.key = Tensor({last - first, kKeyHeads, kDim});
  part.value = Tensor({last - first, kKeyHeads, kValueDim});
  const auto copy = [&](const Tensor& from, Tensor& to) {
    const std::int64_t row = kKeyHeads * from.shape[2];
    std::copy(from.values.begin() + first * row, from.values.begin() + last * row,
              to.values.begin());
  };
  copy(whole.key, part.key);
  copy(whole.value, part.value);
  part.sinks.clear();
  part.band.diagonal = Diagonal::kShifted;
  part.band.shift = diagonal(whole) - first;
  return part;
}

TEST(OracleMerge, PartsMakeTheWhole) {
  const Trial trial = make_trial(kScaled | kCapped | kSloped | kSunk | kBanded, 77);
  const Result whole = forward(trial.problem);
  std::vector<Part> parts;
  for (const auto& [first, last] : {std::pair{0, 3}, std::pair{3, 3}, std::pair{3, 7}}) {
    const Result part = forward(keys_between(trial.problem, first, last));
    parts.push_back({part.output, part.lse});
  }
  const Part merged = merge(parts, trial.problem.sinks);
  for (std::size_t n = 0; n < whole.output.values.size(); ++n) {
    EXPECT_NEAR(merged.output.values[n], whole.output.values[n], 1e-14);
  }
  for (std::size_t n = 0; n < whole.lse.values.size(); ++n) {
    EXPECT_NEAR(merged.lse.values[n], whole.lse.values[n], 1e-14);
  }
}

TEST(OracleMerge, EmptyPartsGiveTheSinkOrMinusInfinity) {
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  const std::vector<Part> parts(2, Part{Tensor({1, 1, 2}), Tensor({1, 1}, kNothing)});
  EXPECT_EQ(merge(parts, {}).lse.at(0, 0), kNothing);
  EXPECT_EQ(merge(parts, {}).output.at(0, 0, 1), 0);
  EXPECT_EQ(merge(parts, {1.5}).lse.at(0, 0), 1.5);
}

}  // namespace
}  // namespace tilewise::oracle
