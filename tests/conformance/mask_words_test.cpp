// A band, blocks or a bias of -inf must give the same results as a boolean mask that hides the
// same keys. A row without a visible key has output 0 and lse -inf.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "conformance/trial.h"

namespace tilewise::conformance {
namespace {

constexpr double kTight = 1e-12;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kQueries = 70, kKeys = 90, kBlockQuery = 16, kBlockKey = 32;

// Whether query i of head h of sequence b sees key j, at {b, h, i, j}.
using Sees = std::function<bool(const Index&)>;

Case draw() {
  return plain_case(31,
                    {.batch = 2,
                     .queries = kQueries,
                     .keys = kKeys,
                     .heads = 4,
                     .key_heads = 2,
                     .dim = 8,
                     .value_dim = 5},
                    {});
}

// A mask that differs by head and sequence and hides the last key here and there; every ninth row
// sees nothing.
bool is_spotted(const Index& at) {
  const auto [b, h, i, j] = at;
  return i % 9 != 4 && (7 * b + 5 * h + 3 * i + 11 * j) % 6 < 3;
}

// Such a mask by blocks; the second row of blocks sees nothing.
bool is_present(const Index& block) {
  const auto [b, h, i, j] = block;
  return i != 1 && (b + 2 * h + i + j) % 3 != 0;
}

void write(Field& field, const Sees& sees, double seen, double hidden) {
  for_each_element(field, [&](const Index& at) { field.write(at, sees(at) ? seen : hidden); });
}

Trial boolean_trial(const Sees& sees) {
  Case drawn = draw();
  drawn.mask.has_visible = true;
  Trial trial(drawn);
  write(trial.setup.scores.visible, sees, 1, 0);
  return trial;
}

void expect_same(Trial& a, Trial& b) {
  for (Trial* each : {&a, &b}) {
    each->forward();
    each->backward();
  }
  EXPECT_LT(largest_difference(a.setup.output, b.setup.output), kTight);
  EXPECT_LT(largest_difference(a.setup.lse, b.setup.lse), kTight);
  const GradientFields &from_a = a.setup.gradients, &from_b = b.setup.gradients;
  EXPECT_LT(largest_difference(from_a.query, from_b.query), kTight);
  EXPECT_LT(largest_difference(from_a.key, from_b.key), kTight);
  EXPECT_LT(largest_difference(from_a.value, from_b.value), kTight);
}

// Expects lse to be -inf in the rows for which `sees` is false for all keys, and in no others. In
// these rows output and query gradient are 0.
void expect_nothing_seen(const Trial& trial, const Sees& sees) {
  int empty_rows = 0;
  for_each_query(trial.drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
    bool sees_any = false;
    for (std::int64_t j = 0; j < kKeys; ++j) sees_any = sees_any || sees({b, h, i, j});
    EXPECT_EQ(trial.lse(b, i, h) == -kInfinity, !sees_any) << b << " " << i << " " << h;
    if (sees_any) return;
    ++empty_rows;
    for (std::int64_t d = 0; d < trial.drawn.value_dim; ++d) {
      EXPECT_EQ(trial.output(b, i, h, d), 0) << b << " " << i << " " << h;
      EXPECT_EQ(trial.setup.gradients.query.read({b, i, h, d}), 0) << b << " " << i << " " << h;
    }
  });
  EXPECT_GT(empty_rows, 0);
}

TEST(MaskWords, BooleanIsABiasOfMinusInfinity) {
  Trial boolean = boolean_trial(is_spotted);
  Case drawn = draw();
  drawn.scores.has_bias = true;
  Trial biased(drawn);
  write(biased.setup.scores.bias, is_spotted, 0, -kInfinity);
  expect_same(boolean, biased);
  expect_nothing_seen(boolean, is_spotted);
  expect_nothing_seen(biased, is_spotted);
}

TEST(MaskWords, BlocksAreABoolean) {
  const Sees sees = [](const Index& at) {
    return is_present({at[0], at[1], at[2] / kBlockQuery, at[3] / kBlockKey});
  };
  Trial boolean = boolean_trial(sees);
  Case drawn = draw();
  drawn.mask.has_blocks = true;
  drawn.mask.block_query = kBlockQuery;
  drawn.mask.block_key = kBlockKey;
  Trial blocked(drawn);
  write(blocked.setup.scores.blocks, is_present, 1, 0);
  expect_same(boolean, blocked);
  expect_nothing_seen(blocked, sees);
}

std::int64_t floor_of_quotient(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(std::floor(static_cast<double>(a) / static_cast<double>(b)));
}

TEST(MaskWords, BandIsABoolean) {
  using oracle::Diagonal;
  constexpr std::nullopt_t kNone = std::nullopt;
  const oracle::Band bands[] = {
      {kNone, 0},
      {kNone, 0, Diagonal::kTopLeft},
      {30, 5},
      {7, -2, Diagonal::kTopLeft},
      {40, kNone, Diagonal::kShifted, -33, 19},
      {kNone, 3, Diagonal::kShifted, -64, 32},
  };
  for (const oracle::Band& band : bands) {
    const std::int64_t diagonals[] = {kKeys - kQueries, 0, band.shift};
    const std::int64_t diagonal = diagonals[static_cast<int>(band.diagonal)];
    const Sees sees = [&](const Index& at) {
      const std::int64_t position = at[2] + diagonal, away = at[3] - position;
      if (band.left && away < -*band.left) return false;
      if (band.right && away > *band.right) return false;
      return band.chunk == 0 ||
             floor_of_quotient(position, band.chunk) == floor_of_quotient(at[3], band.chunk);
    };
    SCOPED_TRACE(testing::Message() << "diagonal " << diagonal << ", chunk " << band.chunk);
    Trial boolean = boolean_trial(sees);
    Case drawn = draw();
    drawn.mask.band = band;
    Trial banded(drawn);
    expect_same(boolean, banded);
  }
}

}  // namespace
}  // namespace tilewise::conformance
