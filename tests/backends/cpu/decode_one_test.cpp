// The softmax of one query, whose scores lie side by side, against loops in double: tiles that do
// not fill vectors, what lies behind them, and scores out of the ordinary.
#include <cmath>
#include <limits>

#include "elements.h"
#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuDecodeOne : public EveryIsa {
 protected:
  // body(kernels) in float and in double, where there are kernels for one query.
  template <class Body>
  void in_each(const Body& body) const {
    in_both([&](const auto& kernels) {
      if (kernels.decode.raise_one) body(kernels);
    });
  }
};
TW_ON_EVERY_ISA(CpuDecodeOne);

template <class T>
constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
template <class T>
constexpr T kLimit = T(1000);
constexpr double kUnit = 0.75, kScale = kUnit / 1.44269504088896340736;

// A running row and a tile of raw scores, with NaN in the room behind them.
template <class T>
struct Tile {
  explicit Tile(int64 count) : keys(count), scores(index(2 * count + 256), kNan<T>) {
    for (int64 j = 0; j < keys; ++j) scores[index(j)] = static_cast<T>((j * 37 % 23) - 11);
  }

  void raise(const Kernels<T>& kernels) {
    kernels.decode.raise_one({scores.data(),
                              keys,
                              static_cast<T>(kUnit),
                              kLimit<T>,
                              static_cast<T>(kScale),
                              {&max, &sum, &factor}});
  }

  int64 keys;
  std::vector<T> scores;
  T max = -core::infinity<T>(), sum = 0, factor = kNan<T>;
};

// Numbers of keys that end inside a vector or with it, and inside four vectors or with them.
template <class T>
std::vector<int64> sizes(const Kernels<T>& k) {
  return {1, 3, k.lanes, k.lanes + 1, 4 * k.lanes - 1, 4 * k.lanes, 4 * k.lanes + 1, 127, 128};
}

template <class T>
void expect_weights(const Kernels<T>& k, int64 keys) {
  const double near = 8 * static_cast<double>(std::numeric_limits<T>::epsilon());
  Tile<T> tile(keys);
  const Tile<T> raw(keys);
  double max = -1e9, sum = 0;
  for (int64 j = 0; j < keys; ++j)
    max = std::max(max, static_cast<double>(raw.scores[index(j)]) * kUnit);
  tile.raise(k);
  EXPECT_EQ(tile.max, static_cast<T>(max));
  EXPECT_EQ(tile.factor, 0);
  for (int64 j = 0; j < keys; ++j) {
    const double weight = std::exp2(static_cast<double>(raw.scores[index(j)]) * kUnit - max);
    sum += weight;
    ASSERT_NEAR(tile.scores[index(j)], weight, near) << "key " << j;
  }
  for (int64 j = keys; j < core::round_up(keys, 4 * k.lanes); ++j)
    ASSERT_EQ(tile.scores[index(j)], 0) << "behind the last key, " << j;
  EXPECT_NEAR(tile.sum, sum, near * sum);
}

TEST_P(CpuDecodeOne, WeighsEveryKeyAndNoneBehind) {
  in_each([](const auto& kernels) {
    for (const int64 keys : sizes(kernels)) {
      SCOPED_TRACE(testing::Message() << keys << " keys");
      expect_weights(kernels, keys);
    }
  });
}

template <class T>
void expect_shrunk(const Kernels<T>& k) {
  // Running maxima of 2 less and 8 more than the largest score of the tile, 11 * kUnit.
  for (const double before : {11 * kUnit - 2, 11 * kUnit + 8}) {
    Tile<T> alone(64), tile(64);
    alone.raise(k);
    tile.max = static_cast<T>(before);
    tile.sum = 3;
    tile.raise(k);
    EXPECT_EQ(tile.max, static_cast<T>(std::max(before, 11 * kUnit)));
    EXPECT_NEAR(tile.factor, std::exp2(std::min(0.0, before - 11 * kUnit)), 1e-6);
    EXPECT_NEAR(tile.sum,
                3 * tile.factor + alone.sum * std::exp2(std::min(0.0, 11 * kUnit - before)), 1e-5);
  }
}

TEST_P(CpuDecodeOne, ShrinksWhatWasSeenBefore) {
  in_each([](const auto& kernels) { expect_shrunk(kernels); });
}

// NaN at any place of the tile, also as its only score.
template <class T>
void expect_nan(const Kernels<T>& k) {
  for (const int64 keys : sizes(k)) {
    for (const int64 at : {int64{0}, keys / 2, keys - 1}) {
      Tile<T> tile(keys);
      tile.scores[index(at)] = kNan<T>;
      tile.raise(k);
      EXPECT_TRUE(std::isnan(tile.sum)) << keys << " keys, NaN at " << at;
    }
  }
}

TEST_P(CpuDecodeOne, KeepsNan) {
  in_each([](const auto& kernels) { expect_nan(kernels); });
}

// An infinite score is held at a finite limit. One at +infinity gets all weight; if all are at
// -infinity, they get equal weights.
template <class T>
void expect_held(const Kernels<T>& k) {
  const T most = core::largest<T>() / 2 * core::log2e<T>();
  for (const int64 keys : sizes(k)) {
    SCOPED_TRACE(testing::Message() << keys << " keys");
    Tile<T> high(keys), low(keys);
    high.scores[index(keys - 1)] = core::infinity<T>();
    for (int64 j = 0; j < keys; ++j) low.scores[index(j)] = -core::infinity<T>();
    high.raise(k);
    low.raise(k);
    EXPECT_EQ(high.max, most);
    EXPECT_EQ(high.sum, 1);
    EXPECT_EQ(high.scores[index(keys - 1)], 1);
    EXPECT_EQ(low.max, -most);
    EXPECT_EQ(low.sum, static_cast<T>(keys));
  }
}

TEST_P(CpuDecodeOne, HoldsInfiniteScores) {
  in_each([](const auto& kernels) { expect_held(kernels); });
}

// If a score passes the limit, scores are scaled one by one, with the same results.
template <class T>
void expect_scaled(const Kernels<T>& k) {
  Tile<T> tile(40);
  tile.scores[7] = T(4096);
  tile.scores[8] = T(4095);
  tile.raise(k);
  EXPECT_NEAR(tile.max, 4096 * kUnit, 1e-3);
  EXPECT_EQ(tile.scores[7], 1);
  EXPECT_NEAR(tile.scores[8], std::exp2(-kUnit), 1e-3);
  EXPECT_EQ(tile.scores[9], 0);
}

TEST_P(CpuDecodeOne, ScalesLargeScoresOneByOne) {
  in_each([](const auto& kernels) { expect_scaled(kernels); });
}

TEST_P(CpuDecodeOne, IsThereForFewQueries) {
  in_both(
      [](const auto& k) { EXPECT_EQ(k.decode.raise_one != nullptr, k.decode.score != nullptr); });
}

}  // namespace
}  // namespace tilewise::cpu
