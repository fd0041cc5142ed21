// The one product against its definition, with every stride a pass uses; and why it sums tiles
// apart.
#include "backends/plain/product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tilewise::plain {
namespace {

std::vector<double> numbers(std::size_t count, double start) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = std::sin(start + double(i));
  return values;
}

TEST(Product, AddsToWhatIsThere) {
  const int64 width = 6;
  const Extent extent{3, 5, 4, width};
  const auto a = numbers(15, 1), b = numbers(30, 2), before = numbers(18, 3);
  for (const Matrix<double> left :
       {Matrix<double>{a.data(), 5, 1}, Matrix<double>{a.data(), 1, 3}}) {
    auto to = before;
    double apart[4];
    add_product(extent, left, b.data(), to.data(), apart);
    for (int64 i = 0; i < extent.rows; ++i) {
      for (int64 j = 0; j < width; ++j) {
        const auto at = static_cast<std::size_t>(i * width + j);
        double sum = before[at];
        for (int64 k = 0; j < extent.columns && k < extent.inner; ++k)
          sum += left.data[i * left.row + k * left.column] * b[std::size_t(k * width + j)];
        EXPECT_NEAR(to[at], sum, 1e-14);
      }
    }
  }
}

TEST(Product, TransposedReadsTheSameElements) {
  const auto a = numbers(12, 0);
  const Matrix<double> matrix{a.data(), 4, 1};
  const Matrix<double> turned = transposed(matrix);
  EXPECT_EQ(turned.data[2 * turned.row + 1 * turned.column], a[1 * 4 + 2]);
}

// 16,384 terms of 0.1 in float32. The error grows with the number of terms in one sum, and tiles
// keep that number small.
TEST(Product, SumsLongRowsTileByTile) {
  const int64 tile = 64, tiles = 256;
  const std::vector<float> ones(tile, 1.0F), tenths(tile, 0.1F);
  float together = 0, tile_by_tile = 0, apart = 0;
  for (int64 n = 0; n < tile * tiles; ++n) together += 0.1F;
  for (int64 n = 0; n < tiles; ++n)
    add_product<float>({1, tile, 1, 1}, {ones.data(), tile, 1}, tenths.data(), &tile_by_tile,
                       &apart);
  const double exact = double(0.1F) * double(tile * tiles);
  EXPECT_LT(std::abs(tile_by_tile - exact) / exact, 5e-6);
  EXPECT_GT(std::abs(together - exact), 10 * std::abs(tile_by_tile - exact));
}

}  // namespace
}  // namespace tilewise::plain
