// Floating-point traps of the caller are off while the library computes. tests/robust tests the
// other modes, in calls.
#include "parallel/arithmetic.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <limits>

namespace tilewise {
namespace {

#if defined(__GLIBC__) && defined(__x86_64__)
// Read and written through memory that the compiler cannot see through.
double divided(double a, double b) {
  volatile double x = a, y = b;
  return x / y;
}

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
#endif

}  // namespace
}  // namespace tilewise
