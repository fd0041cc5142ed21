// Random combinations of everything a call may ask for, through the C face, against the oracle in
// float64. TILEWISE_CASES says how many; TILEWISE_SEED replays the one that a failure names.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "conformance/check.h"
#include "conformance/coverage.h"

namespace tilewise::conformance {
namespace {

constexpr std::uint64_t kCases = 1500;

TEST(Conformance, RandomCombinationsMatchTheOracle) {
  const Draws drawn = draws(1, kCases);
  Coverage coverage;
  Report total;
  std::string worst_case;
  for (std::uint64_t seed = drawn.first; seed < drawn.first + drawn.count; ++seed) {
    const Case one = draw_case(seed);
    const Report report = check_case(one);
    EXPECT_TRUE(report.ok()) << one.describe() << report.sentences();
    if (report.worst() > total.worst()) worst_case = one.describe();
    total.merge(report);
    coverage.add(features_of(one));
  }
  std::printf("%llu cases, %lld numbers compared, %zu of %zu pairs of features met\n",
              static_cast<unsigned long long>(drawn.count),
              static_cast<long long>(total.compared()), coverage.met(), coverage.possible());
  std::printf("worst error %.2e of natural size at %s of %s\n", total.worst() * kTolerance,
              total.worst_where().c_str(), worst_case.c_str());
  EXPECT_GT(total.compared(), 0);
  if (drawn.is_replay || drawn.count < kCases) return;
  for (const std::string& pair : coverage.missing()) ADD_FAILURE() << "never met: " << pair;
}

}  // namespace
}  // namespace tilewise::conformance
