// The GPU kernels' text, run by the emulator, against the oracle: random calls of every kind. The
// tests of aligned calls, rotary, append and merge that this program takes from tests/conformance
// run on it, too.
#include <gtest/gtest.h>

#include <thread>

#include "conformance/sweep.h"
#include "emulated_backend.h"
#include "sanitizers.h"

namespace tilewise {
namespace {

class Emulated : public testing::Environment {
 public:
  void SetUp() override { backend_ = std::make_unique<EmulatedBackend>(); }
  void TearDown() override { backend_.reset(); }

 private:
  std::unique_ptr<EmulatedBackend> backend_;
};

// gtest owns it.
[[maybe_unused]] const testing::Environment* const kEmulated =
    testing::AddGlobalTestEnvironment(new Emulated);

// Fewer cases under the address sanitizer, where each takes ten times as long.
constexpr std::uint64_t kMuch = TW_ADDRESS_SANITIZER ? 1 : 5;

void check_cases(const std::vector<conformance::Pick>& picks) {
  ASSERT_FALSE(picks.empty());
  const std::int64_t before = emulated_launches();
  conformance::sweep(picks, static_cast<int>(std::thread::hardware_concurrency()),
                     [](const conformance::Pick& one, const conformance::Report& report) {
                       EXPECT_TRUE(report.ok())
                           << conformance::replay_line(one) << report.sentences();
                       EXPECT_EQ(report.refusal(), "") << conformance::replay_line(one);
                     });
  EXPECT_GE(emulated_launches() - before, static_cast<std::int64_t>(picks.size()));
}

// Each series gets seeds of its own, because a case that takes long does so in every series.
TEST(PlainKernels, RandomCallsStayWithinTheBound) {
  std::vector<conformance::Pick> picks;
  for (const conformance::Series* series : conformance::series_named("random"))
    for (std::uint64_t n = 0; n < kMuch; ++n) picks.push_back({series, picks.size(), 0});
  check_cases(picks);
}

TEST(PlainKernels, LengthsThatBrokeOthersStayWithinTheBound) {
  std::vector<conformance::Pick> picks;
  for (const conformance::Series* series : conformance::series_named("museum/gauss"))
    for (std::uint64_t seed = 0; seed < 2 * kMuch; ++seed) picks.push_back({series, seed, 0});
  check_cases(picks);
}

}  // namespace
}  // namespace tilewise
