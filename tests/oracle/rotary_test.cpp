// Rotary embedding: worked by hand, turned back, and keeping lengths and relative positions.
#include "oracle/rotary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "oracle/random.h"

namespace tilewise::oracle {
namespace {

Rotation angles(std::int64_t positions, std::int64_t columns, bool interleaved) {
  Rotation rotation{Tensor({positions, columns}), Tensor({positions, columns}), interleaved, false};
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const double angle = static_cast<double>(p) * std::pow(0.3, static_cast<double>(c));
      rotation.cosine.at(p, c) = std::cos(angle);
      rotation.sine.at(p, c) = std::sin(angle);
    }
  }
  return rotation;
}

Tensor gauss(std::vector<std::int64_t> shape, std::uint64_t seed) {
  Tensor result(std::move(shape));
  Random random(seed);
  for (double& value : result.values) value = random.normal();
  return result;
}

double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.values.size(); ++i) sum += a.values[i] * b.values[i];
  return sum;
}

TEST(Rotary, QuarterTurnByHand) {
  Tensor input({1, 1, 5});
  input.values = {1, 2, 3, 4, 5};
  Rotation rotation{Tensor({1, 2}), Tensor({1, 2}), true, false};
  rotation.sine.values = {1, 1};
  EXPECT_EQ(rotate(input, rotation, {0}).values, (std::vector<double>{-2, 1, -4, 3, 5}));
  rotation.interleaved = false;
  EXPECT_EQ(rotate(input, rotation, {0}).values, (std::vector<double>{-3, -4, 1, 2, 5}));
  rotation.inverse = true;
  EXPECT_EQ(rotate(input, rotation, {0}).values, (std::vector<double>{3, 4, -1, -2, 5}));
}

TEST(Rotary, KeepsInnerProductsAndTurnsBack) {
  for (const bool interleaved : {false, true}) {
    Rotation rotation = angles(9, 3, interleaved);
    const Tensor x = gauss({4, 2, 7}, 1), y = gauss({4, 2, 7}, 2);
    const std::vector<std::int64_t> positions = {8, 0, 3, 5};
    const Tensor turned = rotate(x, rotation, positions);
    EXPECT_NEAR(dot(turned, rotate(y, rotation, positions)), dot(x, y), 1e-13);
    EXPECT_GT(std::fabs(turned.at(0, 0, 0) - x.at(0, 0, 0)), 1e-3);
    rotation.inverse = true;
    const Tensor back = rotate(turned, rotation, positions);
    for (std::size_t i = 0; i < x.values.size(); ++i) {
      EXPECT_NEAR(back.values[i], x.values[i], 1e-14);
    }
    // The inverse is the transpose, and so the gradient.
    EXPECT_NEAR(dot(y, turned), dot(rotate(y, rotation, positions), x), 1e-13);
  }
}

TEST(Rotary, ProductsSeeOnlyRelativePositions) {
  for (const bool interleaved : {false, true}) {
    const Rotation rotation = angles(9, 3, interleaved);
    const Tensor x = gauss({1, 1, 6}, 3), y = gauss({1, 1, 6}, 4);
    EXPECT_NEAR(dot(rotate(x, rotation, {1}), rotate(y, rotation, {4})),
                dot(rotate(x, rotation, {5}), rotate(y, rotation, {8})), 1e-13);
  }
}

}  // namespace
}  // namespace tilewise::oracle
