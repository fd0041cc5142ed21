// Shared by the tests of masks: the definition of tilewise.h, the number of visible pairs in any
// rectangle by sums over it, and a numbered list of small masks.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string>

#include "core/mask.h"

namespace tilewise::core {

// Builds without optimization or with a sanitizer check one mask where others check 40.
#if defined(__has_feature)
#define TW_HAS_FEATURE(name) __has_feature(name)
#else
#define TW_HAS_FEATURE(name) 0
#endif
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    TW_HAS_FEATURE(address_sanitizer) || TW_HAS_FEATURE(thread_sanitizer)
inline constexpr int64 kSlowness = 40;
#else
inline constexpr int64 kSlowness = 1;
#endif

struct Strip {
  int64 left, right;
};
inline constexpr Strip kStrips[] = {{kUnlimited, kUnlimited},
                                    {kUnlimited, 0},
                                    {0, kUnlimited},
                                    {0, 0},
                                    {3, 0},
                                    {0, 2},
                                    {2, 2},
                                    {1, 5},
                                    {kUnlimited, 2},
                                    {kUnlimited, -1},
                                    {-1, kUnlimited},
                                    {4, -2},
                                    {-2, 4},
                                    {-1, -1},  // hides everything, as do all strips from here on
                                    {-1, 0},
                                    {0, -1},
                                    {-5, 1},
                                    {kUnlimited, -kUnlimited}};
inline constexpr int64 kChunks[] = {0, 1, 2, 3, 5, 8};
inline constexpr int64 kMostQueries = 13, kMostKeys = 17;

inline int64 chunk_of(int64 position, int64 chunk) {
  return static_cast<int64>(std::floor(static_cast<double>(position) / static_cast<double>(chunk)));
}

// The definition, word for word.
inline bool sees(const Band& band, int64 query, int64 key) {
  const int64 offset = key - query - band.diagonal;
  if (offset < -band.left || band.right < offset) return false;
  return band.chunk == 0 ||
         chunk_of(key, band.chunk) == chunk_of(query + band.diagonal, band.chunk);
}

inline std::string text(const Band& band) {
  return "queries " + std::to_string(band.queries) + ", keys " + std::to_string(band.keys) +
         ", left " + std::to_string(band.left) + ", right " + std::to_string(band.right) +
         ", diagonal " + std::to_string(band.diagonal) + ", chunk " + std::to_string(band.chunk);
}

inline std::string text(Range rows, Range columns) {
  return " rows [" + std::to_string(rows.begin) + ", " + std::to_string(rows.end) + ") columns [" +
         std::to_string(columns.begin) + ", " + std::to_string(columns.end) + ")";
}

// How many visible pairs a rectangle holds, by sums over the definition.
class Truth {
 public:
  explicit Truth(const Band& band) : queries_(band.queries), keys_(band.keys) {
    for (int64 i = 0; i < queries_; ++i) {
      for (int64 j = 0; j < keys_; ++j)
        at(i + 1, j + 1) = at(i, j + 1) + at(i + 1, j) - at(i, j) + (sees(band, i, j) ? 1 : 0);
    }
  }

  int64 count(Range rows, Range columns) {
    const Range r = clipped(rows, queries_), c = clipped(columns, keys_);
    return at(r.end, c.end) - at(r.begin, c.end) - at(r.end, c.begin) + at(r.begin, c.begin);
  }

 private:
  static Range clipped(Range range, int64 length) {
    const int64 begin = std::clamp<int64>(range.begin, 0, length);
    return {begin, std::clamp(range.end, begin, length)};
  }
  int64& at(int64 i, int64 j) { return sums_[static_cast<size_t>(i * (kMostKeys + 1) + j)]; }

  int64 queries_, keys_;
  std::array<int64, (kMostQueries + 1) * (kMostKeys + 1)> sums_{};
};

// All masks with up to `queries` queries, `keys` keys, diagonals from -reach to reach, and the
// limits and chunks listed above, by number.
struct Masks {
  int64 queries, keys, reach;

  int64 size() const {
    return (queries + 1) * (keys + 1) * (2 * reach + 1) * int64{std::size(kStrips)} *
           int64{std::size(kChunks)};
  }

  Band operator[](int64 number) const {
    const auto digit = [&number](int64 base) {
      const int64 lowest = number % base;
      number /= base;
      return lowest;
    };
    Band band;
    band.queries = digit(queries + 1);
    band.keys = digit(keys + 1);
    band.diagonal = digit(2 * reach + 1) - reach;
    const Strip strip = kStrips[digit(std::size(kStrips))];
    band.left = strip.left;
    band.right = strip.right;
    band.chunk = kChunks[digit(std::size(kChunks))];
    return band;
  }
};

// Runs `check` on one mask in `share`, drawn with a fixed seed, until one fails.
template <class Check>
int64 for_each_mask(Masks masks, int64 share, Check check) {
  std::mt19937 draw(20240607);
  int64 checked = 0;
  for (int64 number = 0; number < masks.size() && !testing::Test::HasFailure(); ++number) {
    if (draw() % static_cast<uint64>(share) != 0) continue;
    check(masks[number]);
    ++checked;
  }
  return checked;
}

inline Cover expected_cover(int64 visible, int64 area) {
  return visible == 0 ? Cover::kNone : visible == area ? Cover::kAll : Cover::kSome;
}

}  // namespace tilewise::core
