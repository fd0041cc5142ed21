// Proves the constants and functions that core takes from its compiler against the standard
// library.
#include "core/math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace tilewise::core {
namespace {

template <class T>
class Math : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Math, Types);

TYPED_TEST(Math, HasTheConstantsOfItsType) {
  using T = TypeParam;
  EXPECT_EQ(infinity<T>(), std::numeric_limits<T>::infinity());
  EXPECT_TRUE(std::isnan(not_a_number<T>()));
  EXPECT_EQ(largest<T>(), std::numeric_limits<T>::max());
  EXPECT_EQ(log2e<T>(), std::numbers::log2e_v<T>);
  EXPECT_EQ(ln2<T>(), std::numbers::ln2_v<T>);
}

// Kernels need these ends: the weight of a hidden score is 2^-infinity = 0, the logarithm of an
// empty sum is -infinity, and the weight of the largest score is 2^0 = 1.
TYPED_TEST(Math, TakesExp2AndLog2ToTheEnds) {
  using T = TypeParam;
  EXPECT_EQ(exp2(-infinity<T>()), 0);
  EXPECT_EQ(exp2(infinity<T>()), infinity<T>());
  EXPECT_EQ(exp2(-largest<T>()), 0);
  EXPECT_EQ(exp2(T(0)), 1);
  EXPECT_TRUE(std::isnan(exp2(not_a_number<T>())));
  EXPECT_EQ(log2(T(0)), -infinity<T>());
  EXPECT_EQ(log2(T(1)), 0);
  EXPECT_EQ(log2(infinity<T>()), infinity<T>());
  EXPECT_TRUE(std::isnan(log2(T(-1))));
  for (int n = std::numeric_limits<T>::min_exponent; n < std::numeric_limits<T>::max_exponent;
       ++n) {
    ASSERT_EQ(exp2(static_cast<T>(n)), std::ldexp(T(1), n));
    ASSERT_EQ(log2(std::ldexp(T(1), n)), static_cast<T>(n));
  }
  for (int n = -1000; n <= 1000; ++n) {
    const T x = static_cast<T>(n) / T(37);
    const long double exact = std::exp2(static_cast<long double>(x));
    ASSERT_LE(std::abs(exp2(x) - exact), std::numeric_limits<T>::epsilon() * exact);
  }
}

TYPED_TEST(Math, TakesAbsoluteValues) {
  using T = TypeParam;
  EXPECT_EQ(absolute(T(-3)), 3);
  EXPECT_EQ(absolute(T(3)), 3);
  EXPECT_EQ(absolute(-infinity<T>()), infinity<T>());
  EXPECT_TRUE(std::isnan(absolute(not_a_number<T>())));
  EXPECT_EQ(absolute(int64{-1} << 60), int64{1} << 60);
}

}  // namespace
}  // namespace tilewise::core
