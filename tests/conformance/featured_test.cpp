// Compares forward with the oracle under each feature that a kernel may have compiled in, alone and
// with each other feature. On a GPU each of these combinations compiles a kernel of its own.
#include "conformance/featured.h"

#include <gtest/gtest.h>

#include "conformance/check.h"

namespace tilewise::conformance {
namespace {

void check_pair(int one, int other) {
  const Case drawn = featured_case(one, other);
  const Report report = check_forward(drawn);
  EXPECT_TRUE(report.ok()) << drawn.describe() << report.sentences();
  EXPECT_EQ(report.refusal(), "") << drawn.describe();
}

TEST(Featured, EachAndEachPair) {
  for (int one = 0; one < kFeatureCount; ++one)
    for (int other = one; other < kFeatureCount; ++other) check_pair(one, other);
}

}  // namespace
}  // namespace tilewise::conformance
