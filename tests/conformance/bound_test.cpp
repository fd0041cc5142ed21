// Tests of the bounds: they must not become wider, nor let the commonest mistakes pass.
#include "conformance/bound.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "conformance/gradient_bound.h"
#include "conformance/report.h"
#include "oracle/random.h"

namespace tilewise::conformance {
namespace {

using oracle::Attention;
using oracle::Tensor;

Tensor gauss(const std::vector<std::int64_t>& shape, oracle::Random& random) {
  Tensor tensor(shape);
  for (double& each : tensor.values) each = random.normal();
  return tensor;
}

Attention gauss_problem(std::int64_t keys, std::uint64_t seed) {
  oracle::Random random(seed);
  Attention problem;
  problem.query = gauss({8, 1, 16}, random);
  problem.key = gauss({keys, 1, 16}, random);
  problem.value = gauss({keys, 1, 4}, random);
  return problem;
}

// One query, two keys with scores 0 and log 3: weights 1/4 and 3/4, values 4 and 8, output 7.
Attention by_hand() {
  Attention problem;
  problem.query = Tensor({1, 1, 1}, 1);
  problem.key = Tensor({2, 1, 1});
  problem.key.at(1) = std::log(3.0);
  problem.value = Tensor({2, 1, 1}, 4);
  problem.value.at(1) = 8;
  problem.scale = 1;
  return problem;
}

TEST(Bound, IsWhatItsFormulaSays) {
  const Attention problem = by_hand();
  const oracle::Result result = oracle::forward(problem);
  const ForwardBound float32 = bound_forward(problem, result, precision_of(TW_FLOAT32, TW_FLOAT32));
  // 2^-24 + 2^-22 sqrt 2 times 7, and 6 * 2^-24 times 3/4 log 3 |8 - 7|
  const double sum = (0x1p-24 + 0x1p-22 * std::sqrt(2.0)) * 7;
  const double score = 6 * 0x1p-24 * 0.75 * std::log(3.0);
  EXPECT_NEAR(float32.output.at(0), sum + score, 1e-15);
  EXPECT_NEAR(float32.lse.at(0), score + 0x1p-22 * std::sqrt(2.0) + 0x1p-22 * std::log(4.0), 1e-15);
  const ForwardBound bfloat16 =
      bound_forward(problem, result, precision_of(TW_BFLOAT16, TW_BFLOAT16));
  EXPECT_NEAR(bfloat16.output.at(0), sum + score + (0x1p-8 - 0x1p-24) * 7, 1e-12);
}

// dO = 2: at probabilities 8 and 16, delta 14, score gradients -1.5 and 1.5.
TEST(Bound, OfGradientsIsWhatItsFormulaSays) {
  const Attention problem = by_hand();
  const oracle::Result result = oracle::forward(problem);
  const oracle::Arriving arriving{Tensor({1, 1, 1}, 2), {}};
  const oracle::Gradients gradients = oracle::backward(problem, result, arriving);
  EXPECT_NEAR(gradients.bias.at(0, 0, 1), 1.5, 1e-12);
  const GradientBound bound =
      bound_gradients(problem, result, gradients, arriving, precision_of(TW_FLOAT32, TW_FLOAT32));
  const double u = 0x1p-24, magnitude = std::log(3.0), root = std::sqrt(2.0);
  const double lse = 6 * u * 0.75 * magnitude + 4 * u * root + 4 * u * std::log(4.0);
  const double delta = 6 * u * 0.75 * magnitude * 2 + (u + 4 * u * root) * 14 + (u + 6 * u) * 14;
  const double score =
      0.75 * (std::expm1(6 * u * magnitude + lse) * 2 + 6 * u * 16 + delta + 2 * u * (16 + 14)) +
      2 * u * 1.5;
  EXPECT_NEAR(bound.score.at(0, 0, 1), score, 1e-12);
  // Of the two keys, one is 0: the query's gradient has one term, log 3 * 1.5.
  EXPECT_NEAR(bound.query.at(0), (score + u * 1.5 + 4 * u * root * 1.5) * magnitude, 1e-12);
  EXPECT_NEAR(bound.value.at(1),
              0.75 * 2 * (std::expm1(6 * u * magnitude + lse) + u + 2 * u + 4 * u), 1e-12);
}

// A sink of 88 leaves the only key a weight below 2^-126, which may be flushed to 0: the score's
// gradient is off by that, times dP - delta = 128, except the one that the bias gets.
TEST(Bound, AllowsSubnormalWeightsToBeFlushed) {
  Attention problem = by_hand();
  problem.query.at(0) = 0;
  problem.key = Tensor({1, 1, 1}, 3);
  problem.value = Tensor({1, 1, 1}, 64);
  problem.sinks = {88};
  const oracle::Result result = oracle::forward(problem);
  const oracle::Arriving arriving{Tensor({1, 1, 1}, 2), {}};
  const oracle::Gradients gradients = oracle::backward(problem, result, arriving);
  const auto bound = [&](tw_dtype dtype) {
    return bound_gradients(problem, result, gradients, arriving, precision_of(dtype, dtype));
  };
  // Another 2^-126 is for rounding to bfloat16, and one for the sum.
  EXPECT_NEAR(bound(TW_BFLOAT16).query.at(0) / 0x1p-126, (128 + 1) * 3 + 1, 2);
  EXPECT_LT(bound(TW_BFLOAT16).score.at(0, 0, 0), 0x1p-126);
  EXPECT_LT(bound(TW_FLOAT64).query.at(0), 0x1p-150);
}

// The fraction of rows in which `wrong` exceeds the bound of `right`.
double caught(const Attention& right, const Attention& wrong, tw_dtype dtype) {
  const oracle::Result result = oracle::forward(right), other = oracle::forward(wrong);
  const ForwardBound bound = bound_forward(right, result, precision_of(dtype, dtype));
  double rows = 0;
  for (std::int64_t i = 0; i < right.queries(); ++i) {
    bool is_out = false;
    for (std::int64_t d = 0; d < right.value.shape[2]; ++d) {
      const double error = std::fabs(result.output.at(i, 0, d) - other.output.at(i, 0, d));
      is_out = is_out || error > bound.output.at(i, 0, d);
    }
    rows += is_out ? 1 : 0;
  }
  return rows / static_cast<double>(right.queries());
}

Attention without_last_key(const Attention& problem) {
  Attention shorter = problem;
  const std::int64_t keys = problem.keys() - 1;
  for (Tensor* each : {&shorter.key, &shorter.value}) {
    each->shape[0] = keys;
    each->values.resize(static_cast<std::size_t>(keys * each->shape[2]));
  }
  return shorter;
}

TEST(Bound, KeepsTheLastKeyFromBeingLost) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const Attention few = gauss_problem(64, seed), many = gauss_problem(4096, seed);
    EXPECT_GE(caught(few, without_last_key(few), TW_FLOAT32), 0.99);
    EXPECT_GE(caught(many, without_last_key(many), TW_FLOAT32), 0.7);
    EXPECT_GE(caught(few, without_last_key(few), TW_FLOAT16), 0.7);
  }
}

TEST(Bound, SeesAScaleThatIsOffByAThousandth) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const Attention right = gauss_problem(256, seed);
    Attention wrong = right;
    wrong.scale = 1.001 / std::sqrt(16.0);
    EXPECT_GE(caught(right, wrong, TW_FLOAT32), 0.99);
  }
}

TEST(Report, FailsWhatIsTooFarOffAndWhatIsNoNumber) {
  const auto is_ok = [](const Comparison& numbers) {
    Report report;
    report.add(Part::kOutput, {}, numbers);
    EXPECT_EQ(report.compared(), 1);
    return report.ok();
  };
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(is_ok({1.09, 1, 0.1, 0}));
  EXPECT_FALSE(is_ok({1.11, 1, 0.1, 0}));
  EXPECT_TRUE(is_ok({1.11, 1, 0.1, 0.02}));
  EXPECT_FALSE(is_ok({kNan, 1, 0.1, 0}));
  EXPECT_FALSE(is_ok({1, kNan, 0.1, 0}));
  EXPECT_FALSE(is_ok({kInfinity, 1, 0.1, 0}));
  EXPECT_FALSE(is_ok({1, -kInfinity, 0, 0}));
  EXPECT_TRUE(is_ok({-kInfinity, -kInfinity, 0, 0}));
  EXPECT_FALSE(is_ok({1e-300, 0, 0, 0}));
  EXPECT_TRUE(is_ok({0, 0, 0, 0}));
}

// Some instructions, VDPBF16PS among them, flush a product of 1e-38 to 0.
TEST(Bound, TermsOfASumMayBeFlushed) {
  for (const auto& [dtype, least] :
       {std::pair{TW_BFLOAT16, 0x1p-126}, std::pair{TW_FLOAT16, 0x1p-126},
        std::pair{TW_FLOAT64, 0x1p-1022}}) {
    ErrorSum sum;
    sum.add(0, 0);
    EXPECT_EQ(sum.bound(precision_of(dtype, dtype)), 0) << "what has to be 0 has to be 0";
    sum.add(0, least / 2);
    EXPECT_GE(sum.bound(precision_of(dtype, dtype)), 2 * least);
    EXPECT_LT(sum.bound(precision_of(dtype, dtype)), 2.001 * least);
  }
}

}  // namespace
}  // namespace tilewise::conformance
