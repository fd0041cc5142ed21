#include "backends/cuda/compiler/at_once.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace tilewise::cuda {
namespace {

TEST(AtOnce, DoesEachOnce) {
  for (const std::size_t count : {0U, 1U, 2U, 100U}) {
    std::vector<std::atomic<int>> done(count);
    at_once(count, [&](std::size_t i) { ++done[i]; });
    for (const std::atomic<int>& one : done) EXPECT_EQ(one.load(), 1);
  }
}

TEST(AtOnce, DoesNoMoreThanMemoryHasRoomFor) {
  EXPECT_EQ(most_at_once(1), 1U);
  EXPECT_EQ(most_at_once(799e6), 1U);
  EXPECT_EQ(most_at_once(801e6), 2U);
  EXPECT_EQ(most_at_once(64e9), 160U);
  EXPECT_GT(most_at_once(0), 1000U) << "nothing is known";
}

TEST(AtOnce, DoesSeveralAtTheSameTime) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "There is one processor.";
  std::atomic<int> begun{0};
  at_once(2, [&](std::size_t) {
    ++begun;
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (begun < 2 && std::chrono::steady_clock::now() < patience) std::this_thread::yield();
    EXPECT_EQ(begun.load(), 2);
  });
}

}  // namespace
}  // namespace tilewise::cuda
