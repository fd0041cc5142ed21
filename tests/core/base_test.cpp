// Proves the integer words of core against their definitions on small numbers of either sign.
#include "core/base.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace tilewise::core {
namespace {

TEST(Base, TakesTheSmallerAndTheLarger) {
  for (int a = -3; a <= 3; ++a) {
    for (int b = -3; b <= 3; ++b) {
      EXPECT_EQ(smaller(a, b), std::min(a, b));
      EXPECT_EQ(larger(a, b), std::max(a, b));
    }
  }
}

TEST(Base, DividesTowardsMinusInfinity) {
  for (int64 a = -200; a <= 200; ++a) {
    for (int64 b = 1; b <= 20; ++b) {
      const auto quotient = static_cast<double>(a) / static_cast<double>(b);
      EXPECT_EQ(floor_div(a, b), static_cast<int64>(std::floor(quotient))) << a << " / " << b;
    }
  }
  EXPECT_EQ(floor_div(-(int64{1} << 61), int64{1} << 60), -2);
  EXPECT_EQ(floor_div(-1, int64{1} << 60), -1);
}

// ceil_div is for sizes, which are never negative.
TEST(Base, DividesSizesUpwards) {
  for (int64 a = 0; a <= 400; ++a) {
    for (int64 b = 1; b <= 20; ++b) {
      const auto quotient = static_cast<double>(a) / static_cast<double>(b);
      EXPECT_EQ(ceil_div(a, b), static_cast<int64>(std::ceil(quotient))) << a << " / " << b;
    }
  }
  EXPECT_EQ(ceil_div(int64{1} << 60, 128), int64{1} << 53);
}

// Against the sets of numbers that ranges stand for.
TEST(Range, IsTheSetOfItsNumbers) {
  for (int64 code = 0; code < 6 * 6 * 6 * 6; ++code) {
    const Range a{code % 6, code / 6 % 6}, b{code / 36 % 6, code / 216};
    int64 size = 0;
    for (int64 i = -1; i <= 6; ++i) {
      EXPECT_EQ(a.contains(i), a.begin <= i && i < a.end);
      EXPECT_EQ(intersect(a, b).contains(i), a.contains(i) && b.contains(i));
      size += a.contains(i) ? 1 : 0;
    }
    EXPECT_EQ(a.size(), size);
    EXPECT_EQ(a.empty(), size == 0);
    EXPECT_EQ(a == b, a.begin == b.begin && a.end == b.end);
  }
}

}  // namespace
}  // namespace tilewise::core
