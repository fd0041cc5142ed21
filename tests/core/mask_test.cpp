// Proves who sees whom by brute force: every element, tile and rectangle of small masks against the
// definition in tilewise.h.
#include "core/mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "core/mask_truth.h"

namespace tilewise::core {
namespace {

constexpr Masks kSmallMasks{kMostQueries, kMostKeys, 15};

TEST(Band, SaysOfEveryElementWhatTheDefinitionSays) {
  int64 elements = 0;
  const int64 masks = for_each_mask(kSmallMasks, kSlowness, [&](const Band& band) {
    for (int64 i = 0; i < band.queries; ++i) {
      const Range keys = band.visible_keys(i);
      ASSERT_TRUE(0 <= keys.begin && keys.begin <= keys.end && keys.end <= band.keys) << text(band);
      for (int64 j = 0; j < band.keys; ++j) {
        const bool expected = sees(band, i, j);
        const bool same = keys.contains(j) == expected && band.visible(i, j) == expected &&
                          band.visible_queries(j).contains(i) == expected;
        ASSERT_TRUE(same) << text(band) << ", query " << i << ", key " << j;
      }
    }
    for (int64 j = 0; j < band.keys; ++j) {
      const Range rows = band.visible_queries(j);
      ASSERT_TRUE(0 <= rows.begin && rows.begin <= rows.end && rows.end <= band.queries)
          << text(band);
    }
    elements += band.queries * band.keys;
  });
  std::cout << "mask: " << masks << " masks, " << elements << " elements\n";
  EXPECT_GE(elements, 40'000'000 / kSlowness);
}

struct Tile {
  int64 rows, columns;
};

struct Counts {
  int64 none = 0, some = 0, all = 0;          // tiles of the whole mask
  int64 walked = 0, skipped = 0, wasted = 0;  // tiles that a walk met; wasted: nothing to see there
};

void check_tiles(const Band& band, Truth& truth, Tile tile, Counts& counts) {
  for (int64 i = 0; i < band.queries; i += tile.rows) {
    const Range rows{i, std::min(i + tile.rows, band.queries)};
    for (int64 j = 0; j < band.keys; j += tile.columns) {
      const Range columns{j, std::min(j + tile.columns, band.keys)};
      const Cover cover = expected_cover(truth.count(rows, columns), rows.size() * columns.size());
      ASSERT_EQ(band.cover(rows, columns), cover) << text(band) << text(rows, columns);
      (cover == Cover::kAll ? counts.all : cover == Cover::kSome ? counts.some : counts.none) += 1;
    }
  }
}

// Forward goes along keys for a tile of rows, backward along rows for a tile of keys.
struct AlongKeys {
  const Band& band;
  Truth& truth;

  int64 here() const { return band.queries; }
  int64 there() const { return band.keys; }
  Range reach(Range rows) const { return band.keys_of(rows); }
  Cover cover(Range rows, Range columns) const { return band.cover(rows, columns); }
  int64 count(Range rows, Range columns) const { return truth.count(rows, columns); }
};

struct AlongQueries {
  const Band& band;
  Truth& truth;

  int64 here() const { return band.keys; }
  int64 there() const { return band.queries; }
  Range reach(Range columns) const { return band.queries_of(columns); }
  Cover cover(Range columns, Range rows) const { return band.cover(rows, columns); }
  int64 count(Range columns, Range rows) const { return truth.count(rows, columns); }
};

// If the first row or key of a tile sees anything, it sees the begin of the tile's reach; the last
// one sees the end.
template <class Side>
void check_reach(Side side, Range tile, Range reach) {
  const Range all{0, side.there()}, first{tile.begin, tile.begin + 1}, last{tile.end - 1, tile.end};
  if (side.count(first, all) > 0) {
    ASSERT_EQ(side.count(first, {reach.begin, reach.begin + 1}), 1) << text(side.band);
  }
  if (side.count(last, all) > 0) {
    ASSERT_EQ(side.count(last, {reach.end - 1, reach.end}), 1) << text(side.band);
  }
}

template <class Side>
void check_walk(Side side, int64 size_here, int64 size_there, Counts& counts) {
  for (int64 i = 0; i < side.here(); i += size_here) {
    const Range tile{i, std::min(i + size_here, side.here())};
    const Range reach = side.reach(tile);
    check_reach(side, tile, reach);
    int64 found = 0;
    for (int64 j = reach.begin / size_there * size_there; j < reach.end; j += size_there) {
      const Range other{j, std::min(j + size_there, side.there())};
      if (side.cover(tile, other) == Cover::kNone) {
        ++counts.skipped;
        continue;
      }
      const int64 visible = side.count(tile, other);
      found += visible;
      ++counts.walked;
      counts.wasted += visible == 0 ? 1 : 0;
    }
    ASSERT_EQ(found, side.count(tile, {0, side.there()})) << text(side.band) << text(tile, reach);
  }
}

// To save time one mask in five is checked, each cut into tiles of all 64 sizes.
TEST(Band, CoversEveryTileExactlyAndWastesNone) {
  Counts counts;
  const int64 masks = for_each_mask(kSmallMasks, 5 * kSlowness, [&](const Band& band) {
    Truth truth(band);
    for (int64 size = 0; size < 64 && !testing::Test::HasFailure(); ++size) {
      const Tile tile{1 + size / 8, 1 + size % 8};
      check_tiles(band, truth, tile, counts);
      check_walk(AlongKeys{band, truth}, tile.rows, tile.columns, counts);
      check_walk(AlongQueries{band, truth}, tile.columns, tile.rows, counts);
    }
  });
  const int64 tiles = counts.none + counts.some + counts.all;
  std::cout << "mask: " << masks << " masks, " << tiles << " tiles (" << counts.all
            << " mask-free, " << counts.some << " masked, " << counts.none << " hidden), "
            << counts.walked << " walked, " << counts.skipped << " skipped on the way, "
            << counts.wasted << " wasted\n";
  EXPECT_EQ(counts.wasted, 0);
  EXPECT_GE(tiles, 60'000'000 / kSlowness);
  EXPECT_GE(counts.all, 3'000'000 / kSlowness);
  EXPECT_GE(counts.walked, 15'000'000 / kSlowness);
}

// Rectangles anywhere, also empty ones and such as reach past the lengths, as last tiles do.
// Elements that do not exist are not visible; a row that does not exist forbids nothing.
void check_rectangle(const Band& band, Truth& truth, Range rows, Range columns) {
  const Cover cover = band.cover(rows, columns);
  const int64 visible = truth.count(rows, columns);
  ASSERT_EQ(cover == Cover::kNone, visible == 0) << text(band) << text(rows, columns);
  const Range existing = intersect(rows, {0, band.queries});
  const bool all = visible > 0 && visible == existing.size() * columns.size();
  if (existing == rows) {
    ASSERT_EQ(cover == Cover::kAll, all) << text(band) << text(rows, columns);
  }
  if (cover == Cover::kAll) {
    ASSERT_TRUE(all) << text(band) << text(rows, columns);
  }
}

// To save time one mask in two is checked.
TEST(Band, CoversEveryRectangleExactly) {
  int64 rectangles = 0;
  const int64 masks = for_each_mask({5, 6, 8}, 2 * kSlowness, [&](const Band& band) {
    Truth truth(band);
    const int64 row_ends = band.queries + 3, column_ends = band.keys + 3;
    for (int64 corner = 0; corner < row_ends * row_ends; ++corner) {
      const Range rows{corner / row_ends, corner % row_ends};
      for (int64 other = 0; other < column_ends * column_ends; ++other) {
        check_rectangle(band, truth, rows, {other / column_ends, other % column_ends});
        ++rectangles;
      }
      if (testing::Test::HasFailure()) return;
    }
  });
  std::cout << "mask: " << masks << " masks, " << rectangles << " rectangles\n";
  EXPECT_GE(rectangles, 30'000'000 / kSlowness);
}

}  // namespace
}  // namespace tilewise::core
