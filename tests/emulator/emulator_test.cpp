#include "emulator/emulator.h"

#include <gtest/gtest.h>

#include <vector>

#include "backends/cuda/device/convert.h"
#include "backends/cuda/device/memory.h"

namespace tilewise::emulator {
namespace {

using cuda::block_barrier;
using cuda::thread_index;

TEST(Emulator, EveryThreadOfEveryBlockRuns) {
  std::vector<int> runs(3 * 64);
  run({.blocks = 3, .threads = 64},
      [&] { ++runs[static_cast<std::size_t>(cuda::block_index() * 64 + thread_index())]; });
  for (const int times : runs) EXPECT_EQ(times, 1);
}

TEST(Emulator, BarriersShowWhatOthersWrote) {
  std::vector<int> wrong(4);
  run({.blocks = 4, .threads = 128, .shared_bytes = 128 * sizeof(int)}, [&] {
    auto& numbers = cuda::shared_memory<int[128]>();
    for (int round = 0; round < 3; ++round) {
      numbers[thread_index()] = round * 1000 + thread_index();
      block_barrier();
      if (numbers[127 - thread_index()] != round * 1000 + 127 - thread_index())
        ++wrong[static_cast<std::size_t>(cuda::block_index())];
      block_barrier();
    }
  });
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(Emulator, WarpsAddUp) {
  std::vector<double> sums(64);
  run({.threads = 64}, [&] {
    const auto number = static_cast<double>(thread_index());
    sums[static_cast<std::size_t>(thread_index())] =
        cuda::warp_sum(number) + cuda::warp_max(number);
  });
  for (std::size_t t = 0; t < 64; ++t) EXPECT_EQ(sums[t], t < 32 ? 496 + 31 : 496 + 1024 + 63);
}

std::string fault_of(const std::function<void()>& kernel) {
  try {
    run({.threads = 64}, kernel);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return "none";
}

TEST(Emulator, BarrierThatNotAllThreadsReachIsNamed) {
  EXPECT_EQ(fault_of([] {
              if (thread_index() != 5) block_barrier();
            }),
            "not all threads reach a barrier: in block 0, 63 of its threads wait for the block "
            "(the first is 0), 1 of its threads have ended (the first is 5).");
}

TEST(Emulator, ShuffleThatNotAllLanesReachIsNamed) {
  EXPECT_EQ(fault_of([] {
              if (thread_index() >= 40) cuda::warp_barrier();
              block_barrier();
            }),
            "not all threads reach a barrier: in block 0, 40 of its threads wait for the block "
            "(the first is 0), 24 of its threads wait for their warp (the first is 40).");
}

TEST(Emulator, RefusesBlocksThatAreNoWholeWarps) {
  EXPECT_THROW(run({.threads = 48}, [] {}), Fault);
}

TEST(Words, SmallFloatsAreCores) {
  const auto same = [](float a, double b) { return a == b || (a != a && b != b); };
  for (core::uint32 code = 0; code < 65536; ++code) {
    const auto wide = static_cast<core::uint16>(code);
    EXPECT_TRUE(same(cuda::from_float16(wide), decode(core::kFloat16, code))) << code;
    EXPECT_TRUE(same(cuda::from_bfloat16(wide), decode(core::kBFloat16, code))) << code;
  }
  for (core::uint32 code = 0; code < 256; ++code) {
    const auto narrow = static_cast<core::uint8>(code);
    EXPECT_TRUE(same(cuda::from_float8_e4m3(narrow), decode(core::kFloat8E4M3, code))) << code;
    EXPECT_TRUE(same(cuda::from_float8_e5m2(narrow), decode(core::kFloat8E5M2, code))) << code;
  }
}

}  // namespace
}  // namespace tilewise::emulator
