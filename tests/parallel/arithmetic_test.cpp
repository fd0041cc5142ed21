// Modes are the default ones inside, and outside whatever they were.
#include "parallel/arithmetic.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <limits>

namespace tilewise {
namespace {

// Read and written through memory that the compiler cannot see through.
double divided(double a, double b) {
  volatile double x = a, y = b;
  return x / y;
}

TEST(DefaultArithmetic, RoundsToNearestInsideAndAsBeforeOutside) {
  std::fenv_t before;
  std::fegetenv(&before);
  std::fesetround(FE_UPWARD);
  const double outside = divided(1, 3);
  double inside = 0;
  {
    const DefaultArithmetic arithmetic;
    inside = divided(1, 3);
  }
  const double after = divided(1, 3);
  std::fesetenv(&before);
  EXPECT_EQ(inside, divided(1, 3));
  EXPECT_GT(outside, inside);
  EXPECT_EQ(after, outside);
}

TEST(DefaultArithmetic, FlagsAreTheCallers) {
  std::feclearexcept(FE_ALL_EXCEPT);
  {
    const DefaultArithmetic arithmetic;
    EXPECT_EQ(divided(1, 0), std::numeric_limits<double>::infinity());
  }
  EXPECT_EQ(std::fetestexcept(FE_DIVBYZERO), 0);
  EXPECT_EQ(divided(1, 0), std::numeric_limits<double>::infinity());
  EXPECT_NE(std::fetestexcept(FE_DIVBYZERO), 0);
}

#if defined(__GLIBC__) && defined(__x86_64__)
TEST(DefaultArithmetic, TrapsSleepInside) {
  feenableexcept(FE_DIVBYZERO);
  double quotient = 0;
  {
    const DefaultArithmetic arithmetic;
    quotient = divided(1, 0);
  }
  const int traps = fegetexcept();
  fedisableexcept(FE_DIVBYZERO);
  EXPECT_EQ(quotient, std::numeric_limits<double>::infinity());
  EXPECT_NE(traps & FE_DIVBYZERO, 0);
}

TEST(DefaultArithmetic, DenormalNumbersAreKept) {
  constexpr double kSmallest = std::numeric_limits<double>::min();
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
  const double outside = divided(kSmallest, 4);
  double inside = 0;
  {
    const DefaultArithmetic arithmetic;
    inside = divided(kSmallest, 4);
  }
  _mm_setcsr(before);
  EXPECT_EQ(outside, 0);
  EXPECT_GT(inside, 0);
}
#endif

}  // namespace
}  // namespace tilewise
