// Samples masks whose lengths, diagonals, limits and chunks reach 2^40 or know no limit.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core/mask.h"
#include "core/mask_truth.h"

namespace tilewise::core {
namespace {

// A random mask with lengths, diagonals, limits and chunks up to 2^40, or unlimited.
class FarMasks {
 public:
  int64 up_to(int64 most) { return std::uniform_int_distribution<int64>(0, most)(draw_); }

  Band operator()() {
    Band band;
    band.queries = 16 + up_to(kFar - 16);
    band.keys = 16 + up_to(kFar - 16);
    band.left = limit();
    band.right = limit();
    const int64 diagonals[] = {0, band.keys - band.queries, kFar, -kFar, up_to(2 * kFar) - kFar};
    band.diagonal = diagonals[up_to(4)];
    const int64 chunks[] = {0, 1 + up_to(16), 1 + up_to(kFar), kUnlimited, 0};
    band.chunk = chunks[up_to(4)];
    return band;
  }

  static constexpr int64 kFar = int64{1} << 40;

 private:
  int64 limit() {
    const int64 limits[] = {kUnlimited, 0, up_to(8), -up_to(8), up_to(kFar), -up_to(kFar)};
    return limits[up_to(5)];
  }

  std::mt19937_64 draw_{7};
};

// What a row sees is an interval, so it is right when it is right at its ends; when it is empty,
// the keys at which it could begin or end are hidden.
void check_row(const Band& band, int64 query) {
  const Range keys = band.visible_keys(query);
  ASSERT_TRUE(0 <= keys.begin && keys.begin <= keys.end && keys.end <= band.keys) << text(band);
  const auto seen = [&](int64 key) {
    return 0 <= key && key < band.keys && sees(band, query, key);
  };
  if (!keys.empty()) {
    ASSERT_TRUE(seen(keys.begin) && seen(keys.end - 1)) << text(band) << ", query " << query;
    ASSERT_TRUE(!seen(keys.begin - 1) && !seen(keys.end)) << text(band) << ", query " << query;
    ASSERT_TRUE(band.visible_queries(keys.begin).contains(query)) << text(band);
    ASSERT_TRUE(band.visible_queries(keys.end - 1).contains(query)) << text(band);
    return;
  }
  const int64 position = query + band.diagonal;
  const int64 chunk = band.chunk > 0 ? chunk_of(position, band.chunk) * band.chunk : 0;
  for (int64 key : {int64{0}, band.keys - 1, position, position - band.left, position + band.right,
                    chunk, chunk + band.chunk - 1})
    ASSERT_FALSE(seen(key)) << text(band) << ", query " << query << ", key " << key;
}

// A rectangle of 8 by 8 that lies where something changes: at the edge of what its first row sees.
void check_far_rectangle(const Band& band, int64 query, int64 nudge, bool at_begin) {
  const Range rows{query, query + 8};
  const Range seen = band.visible_keys(query);
  const int64 edge = (at_begin ? seen.begin : seen.end) + nudge - 8;
  const int64 first = std::clamp<int64>(edge, 0, band.keys - 8);
  int64 visible = 0;
  for (int64 place = 0; place < 64; ++place)
    visible += sees(band, query + place / 8, first + place % 8) ? 1 : 0;
  ASSERT_EQ(band.cover(rows, {first, first + 8}), expected_cover(visible, 64))
      << text(band) << text(rows, {first, first + 8});
  if (visible > 0) {
    ASSERT_FALSE(intersect(band.keys_of(rows), {first, first + 8}).empty()) << text(band);
    ASSERT_FALSE(intersect(band.queries_of({first, first + 8}), rows).empty()) << text(band);
  }
}

TEST(Band, IsExactNearTheLimitsOfIndices) {
  FarMasks masks;
  for (int64 n = 0; n < 400'000 && !HasFailure(); ++n) {
    const Band band = masks();
    const int64 queries[] = {0, band.queries - 8, masks.up_to(band.queries - 8)};
    const int64 query = queries[masks.up_to(2)];
    check_row(band, query);
    check_far_rectangle(band, query, masks.up_to(16), masks.up_to(1) == 0);
  }
  constexpr int64 kFar = FarMasks::kFar;
  const Band causal{.queries = kFar, .keys = kFar, .right = 0};
  EXPECT_EQ(causal.cover({0, kFar}, {0, kFar}), Cover::kSome);
  EXPECT_EQ(causal.cover({kFar / 2, kFar}, {0, kFar / 2 + 1}), Cover::kAll);
  EXPECT_EQ(causal.cover({0, kFar / 2}, {kFar / 2, kFar}), Cover::kNone);
  EXPECT_EQ(causal.keys_of({kFar - 1, kFar}), (Range{0, kFar}));
}

}  // namespace
}  // namespace tilewise::core
