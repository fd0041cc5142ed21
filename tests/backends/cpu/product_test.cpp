// The products of each instruction set against loops, for all remainders of rows and columns.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "elements.h"
#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuProduct : public EveryIsa {};
TW_ON_EVERY_ISA(CpuProduct);

// Small whole numbers: their products are exact in any order.
template <class T>
std::vector<T> whole_numbers(int64 count) {
  std::mt19937 random(static_cast<unsigned>(count));
  std::vector<T> numbers(index(count));
  for (T& number : numbers) number = static_cast<T>(static_cast<int>(random() % 15) - 7);
  return numbers;
}

TEST_P(CpuProduct, ScoresEveryKeyAndFindsTheLargest) {
  in_both([]<class T>(const Kernels<T>& k) {
    constexpr int64 kDim = 11, kMostKeys = 37;
    const std::vector<T> key = whole_numbers<T>((kMostKeys + kRowStep) * kDim);
    const std::vector<T> query = whole_numbers<T>(kDim * k.pitch);
    for (int64 keys = 1; keys <= kMostKeys; ++keys) {
      for (int64 vectors = 1; vectors <= k.pitch / k.lanes; ++vectors) {
        std::vector<T> scores(index(keys * k.pitch)), largest(index(k.pitch));
        const ScoreTile<T> tile{scores.data(), keys, vectors};
        const bool unusual = k.forward.score(
            {{key.data(), kDim}, query.data(), kDim, tile, largest.data(), T(1000000), {}});
        EXPECT_FALSE(unusual);
        for (int64 lane = 0; lane < vectors * k.lanes; ++lane) {
          T most = -std::numeric_limits<T>::infinity();
          for (int64 j = 0; j < keys; ++j) {
            T want = 0;
            for (int64 c = 0; c < kDim; ++c)
              want += key[index(j * kDim + c)] * query[index(c * k.pitch + lane)];
            ASSERT_EQ(scores[index(j * k.pitch + lane)], want) << j << " of " << keys;
            most = std::max(most, want);
          }
          ASSERT_EQ(largest[index(lane)], most);
        }
      }
    }
  });
}

// `score` returns whether a score is NaN, infinite or beyond the limit. Then `map` looks at each.
TEST_P(CpuProduct, SaysWhenAScoreIsNoOrdinaryNumber) {
  in_both([]<class T>(const Kernels<T>& k) {
    const T limit = 100;
    std::vector<T> key(index(kRowStep)), query(index(k.pitch), T(1)), scores(index(k.pitch));
    std::vector<T> largest(index(k.pitch));
    const auto is_unusual = [&](T score) {
      key[0] = score;
      return k.forward.score(
          {{key.data(), 1}, query.data(), 1, {scores.data(), 1, 1}, largest.data(), limit, {}});
    };
    for (const T score : {T(0), T(99), T(-99)}) EXPECT_FALSE(is_unusual(score)) << score;
    using Limits = std::numeric_limits<T>;
    for (const T score : {T(100), T(-100), Limits::infinity(), -Limits::infinity(),
                          Limits::quiet_NaN(), Limits::max()})
      EXPECT_TRUE(is_unusual(score)) << score;
  });
}

TEST_P(CpuProduct, MasksByLane) {
  in_both([]<class T>(const Kernels<T>& k) {
    constexpr int64 kKeys = 9;
    std::vector<T> scores = whole_numbers<T>(kKeys * k.pitch), largest(index(k.pitch));
    const std::vector<T> before = scores;
    std::vector<T> begin(index(k.pitch)), end(index(k.pitch));
    for (int64 lane = 0; lane < k.pitch; ++lane) {
      begin[index(lane)] = static_cast<T>(lane % 4);
      end[index(lane)] = static_cast<T>(lane % (kKeys + 1));
    }
    // Every eleventh score is hidden by a bias as well; what else a bias says is not added.
    std::vector<T> bias(scores.size(), T(5));
    for (std::size_t n = 0; n < bias.size(); n += 11) bias[n] = -std::numeric_limits<T>::infinity();
    const ScoreTile<T> tile{scores.data(), kKeys, k.pitch / k.lanes};
    const ScoreArgs<T> args{{}, nullptr, 0, tile, largest.data(), T(1000), {}};
    for (const T* hides : {static_cast<const T*>(nullptr), static_cast<const T*>(bias.data())}) {
      EXPECT_FALSE(k.forward.mask(args, {begin.data(), end.data(), hides}));
      for (int64 lane = 0; lane < k.pitch; ++lane) {
        T most = -std::numeric_limits<T>::infinity();
        for (int64 j = 0; j < kKeys; ++j) {
          const int64 n = j * k.pitch + lane;
          const bool seen =
              lane % 4 <= j && j < lane % (kKeys + 1) && (hides == nullptr || n % 11 != 0);
          const T want = seen ? before[index(n)] : -std::numeric_limits<T>::infinity();
          EXPECT_EQ(scores[index(n)], want);
          most = std::max(most, want);
        }
        EXPECT_EQ(largest[index(lane)], most);
      }
    }
  });
}

TEST_P(CpuProduct, AccumulatesPanels) {
  in_both([]<class T>(const Kernels<T>& k) {
    constexpr int64 kDim = 24, kPanelKeys = 32;
    const std::vector<T> value = whole_numbers<T>(kDim * kPanelKeys);
    const std::vector<T> factor(index(k.pitch), T(2));
    for (int64 keys = 1; keys <= kPanelKeys; ++keys) {
      for (int64 vectors = 1; vectors <= k.pitch / k.lanes; ++vectors) {
        const int64 first = keys + kRowStep <= kPanelKeys ? kRowStep : 0;
        const std::vector<T> weights = whole_numbers<T>(keys * k.pitch);
        std::vector<T> tile = weights, output = whole_numbers<T>(kDim * k.pitch);
        const std::vector<T> before = output;
        k.forward.accumulate({.value = value.data(),
                              .panel_keys = kPanelKeys,
                              .dim = kDim,
                              .first = first,
                              .tile = {tile.data(), keys, vectors},
                              .factor = factor.data(),
                              .output = output.data()});
        for (int64 c = 0; c < kDim; ++c) {
          const T* panel = value.data() + c / kPanel * kPanelKeys * kPanel + c % kPanel;
          for (int64 lane = 0; lane < vectors * k.lanes; ++lane) {
            T want = 2 * before[index(c * k.pitch + lane)];
            for (int64 j = 0; j < keys; ++j)
              want += panel[(first + j) * kPanel] * weights[index(j * k.pitch + lane)];
            ASSERT_EQ(output[index(c * k.pitch + lane)], want) << c << " " << keys;
          }
        }
      }
    }
  });
}

// One left side along its rows and one along its columns, in one segment and in several.
TEST_P(CpuProduct, AddsProductsOfAllSizes) {
  in_both([]<class T>(const Kernels<T>& k) {
    for (int64 rows = 1; rows <= 19; ++rows) {
      for (int64 columns = k.lanes; columns <= 7 * k.lanes; columns += k.lanes) {
        for (const int64 segments : {1, 3}) {
          constexpr int64 kDepth = 11;
          const bool is_standing = segments == 3;
          const int64 pitch = columns + k.lanes, next = rows * kDepth + 2;
          const std::vector<T> left = whole_numbers<T>(segments * next);
          const std::vector<T> right = whole_numbers<T>(segments * kDepth * pitch);
          std::vector<T> to = whole_numbers<T>(rows * pitch);
          const std::vector<T> before = to;
          const int64 row = is_standing ? 1 : kDepth, step = is_standing ? rows : 1;
          k.backward.add_product({{left.data(), row, step, kDepth, segments, next},
                                  {right.data(), pitch},
                                  {to.data(), pitch},
                                  rows,
                                  columns});
          for (int64 r = 0; r < rows; ++r) {
            for (int64 c = 0; c < pitch; ++c) {
              T want = before[index(r * pitch + c)];
              for (int64 d = 0; d < segments * kDepth && c < columns; ++d)
                want += left[index(d / kDepth * next + r * row + d % kDepth * step)] *
                        right[index(d * pitch + c)];
              ASSERT_EQ(to[index(r * pitch + c)], want) << rows << " x " << columns;
            }
          }
        }
      }
    }
  });
}

TEST_P(CpuProduct, SumsRowsAndSlopes) {
  in_both([]<class T>(const Kernels<T>& k) {
    const int64 rows = 3, pitch = 3 * k.lanes;
    const std::vector<T> a = whole_numbers<T>(rows * pitch), b = whole_numbers<T>(rows * pitch + 1);
    std::vector<T> dots(index(rows));
    k.backward.dot_rows({a.data(), pitch}, {b.data(), pitch}, rows, dots.data());
    for (int64 r = 0; r < rows; ++r) {
      T want = 0;
      for (int64 c = 0; c < pitch; ++c) want += a[index(r * pitch + c)] * b[index(r * pitch + c)];
      EXPECT_EQ(dots[index(r)], want);
    }
    constexpr int64 kKeys = 6;
    const std::vector<T> gradient = whole_numbers<T>(kKeys * k.pitch);
    const std::vector<T> position = whole_numbers<T>(k.pitch);
    std::vector<T> sum(index(k.pitch), T(10));
    k.backward.add_slopes(
        {{gradient.data(), kKeys, k.pitch / k.lanes}, position.data(), sum.data()});
    for (int64 lane = 0; lane < k.pitch; ++lane) {
      T want = 10;
      for (int64 j = 0; j < kKeys; ++j)
        want -= gradient[index(j * k.pitch + lane)] * std::fabs(position[index(lane)] - T(j));
      EXPECT_EQ(sum[index(lane)], want) << lane;
    }
  });
}

}  // namespace
}  // namespace tilewise::cpu
