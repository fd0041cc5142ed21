// Arena counts the bytes that it hands out, so that one function both states and takes a workspace.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "backends/plain/tasks.h"

namespace tilewise::plain {
namespace {

TEST(Arena, CountsWhatItHandsOut) {
  std::vector<std::byte> memory(4096);
  Arena counting(nullptr), handing(aligned(memory.data()));
  std::byte* end = nullptr;
  for (int64 count : {1, 0, 64, 100, 3}) {
    EXPECT_EQ(counting.take<double>(count), nullptr);
    auto* piece = reinterpret_cast<std::byte*>(handing.take<double>(count));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece) % Arena::kAlignment, 0u);
    if (end) {
      EXPECT_GE(piece, end);
    }
    end = piece + count * 8;
  }
  EXPECT_EQ(counting.used(), handing.used());
  EXPECT_LE(end, aligned(memory.data()) + handing.used());
}

TEST(Arena, AlignsAnyWorkspaceWithinItsRoom) {
  std::vector<std::byte> memory(256);
  for (int shift = 0; shift < 64; ++shift) {
    std::byte* moved = aligned(memory.data() + shift);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(moved) % Arena::kAlignment, 0u);
    EXPECT_LT(moved - (memory.data() + shift), kAlignmentRoom);
  }
}

TEST(Task, NumbersEachTileOnceAndLaterTilesFirst) {
  const int64 batch = 2, heads = 3, tiles = 4;
  std::vector<int> seen(batch * heads * tiles);
  for (int64 n = 0; n < batch * heads * tiles; ++n) {
    const Task task = task_at(n, heads, tiles);
    ++seen[static_cast<std::size_t>((task.b * heads + task.h) * tiles + task.tile)];
    if (n % tiles == 0) {
      EXPECT_EQ(task.tile, tiles - 1);
    }
  }
  for (int count : seen) EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace tilewise::plain
