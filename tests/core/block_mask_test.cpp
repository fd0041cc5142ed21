// Proves BlockMask, and what it says together with a Band, by brute force over every rectangle.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <random>
#include <vector>

#include "core/mask.h"
#include "core/mask_truth.h"

namespace tilewise::core {
namespace {

// A grid of random blocks. Between its rows in memory lie blocks that do not belong to it.
struct Grid {
  std::vector<uint8> memory;
  BlockMask mask;
  int64 queries = 0, keys = 0;

  bool sees(int64 query, int64 key) const {
    const int64 block = query / mask.rows * mask.row_stride + key / mask.columns;
    return memory[static_cast<size_t>(block)] != 0;
  }
};

Grid random_grid(std::mt19937& draw) {
  const auto up_to = [&draw](int64 most) { return static_cast<int64>(draw()) % (most + 1); };
  const int64 down = 1 + up_to(3), across = 1 + up_to(3);
  Grid grid;
  grid.mask.rows = 1 + up_to(3);
  grid.mask.columns = 1 + up_to(3);
  grid.mask.row_stride = across + up_to(2);
  const int64 hidden_in_8 = up_to(8);
  const uint8 present[] = {1, 255, 128};
  for (int64 n = 0; n < grid.mask.row_stride * down; ++n)
    grid.memory.push_back(up_to(7) < hidden_in_8 ? uint8{0} : present[up_to(2)]);
  grid.mask.present = grid.memory.data();
  grid.queries = grid.mask.rows * down - up_to(grid.mask.rows - 1);
  grid.keys = grid.mask.columns * across - up_to(grid.mask.columns - 1);
  return grid;
}

struct Visible {
  int64 by_blocks = 0, by_both = 0;
};

Visible count(const Grid& grid, const Band& band, Range rows, Range columns) {
  Visible visible;
  for (int64 i = rows.begin; i < rows.end; ++i) {
    for (int64 j = columns.begin; j < columns.end; ++j) {
      const bool by_blocks = grid.sees(i, j);
      visible.by_blocks += by_blocks ? 1 : 0;
      visible.by_both += by_blocks && sees(band, i, j) ? 1 : 0;
    }
  }
  return visible;
}

// Checks the cover of a band and blocks together. kAll is exact and kNone is true, but kSome may
// also be a rectangle in which no element is visible by both.
void check_rectangle(const Grid& grid, const Band& band, Range rows, Range columns) {
  const int64 area = rows.size() * columns.size();
  const Visible visible = count(grid, band, rows, columns);
  const Cover blocks = grid.mask.cover(rows, columns);
  ASSERT_EQ(blocks, expected_cover(visible.by_blocks, area)) << text(rows, columns);
  const Cover together = both(band.cover(rows, columns), blocks);
  ASSERT_EQ(together == Cover::kAll, visible.by_both == area) << text(band) << text(rows, columns);
  if (together == Cover::kNone) {
    ASSERT_EQ(visible.by_both, 0) << text(band) << text(rows, columns);
  }
}

int64 check_grid(const Grid& grid, const Band& band) {
  for (int64 i = 0; i < grid.queries; ++i) {
    for (int64 j = 0; j < grid.keys; ++j) EXPECT_EQ(grid.mask.visible(i, j), grid.sees(i, j));
  }
  int64 rectangles = 0;
  for (int64 n = 0; n < grid.queries * grid.queries; ++n) {
    const Range rows{n / grid.queries, n % grid.queries + 1};
    for (int64 m = 0; m < grid.keys * grid.keys && !rows.empty(); ++m) {
      const Range columns{m / grid.keys, m % grid.keys + 1};
      if (columns.empty()) continue;
      check_rectangle(grid, band, rows, columns);
      ++rectangles;
    }
    if (testing::Test::HasFailure()) break;
  }
  return rectangles;
}

TEST(BlockMask, CoversEveryRectangleExactlyAndJoinsABand) {
  std::mt19937 draw(31);
  const Masks masks{0, 0, 15};
  int64 rectangles = 0;
  for (int64 n = 0; n < 4000 / kSlowness && !HasFailure(); ++n) {
    const Grid grid = random_grid(draw);
    Band band = masks[static_cast<int64>(draw()) % masks.size()];
    band.queries = grid.queries;
    band.keys = grid.keys;
    rectangles += check_grid(grid, band);
  }
  std::cout << "block mask: " << rectangles << " rectangles\n";
  EXPECT_GE(rectangles, 2'000'000 / kSlowness);
}

TEST(BlockMask, ThatIsAbsentHidesNothing) {
  const BlockMask absent;
  EXPECT_TRUE(absent.visible(0, 0));
  EXPECT_TRUE(absent.visible(123, 1'000'000));
  EXPECT_EQ(absent.cover({0, 64}, {128, 1'000'000}), Cover::kAll);
}

TEST(Both, IsTheLesserCover) {
  constexpr Cover kCovers[] = {Cover::kNone, Cover::kSome, Cover::kAll};
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) EXPECT_EQ(both(kCovers[a], kCovers[b]), kCovers[a < b ? a : b]);
  }
}

}  // namespace
}  // namespace tilewise::core
