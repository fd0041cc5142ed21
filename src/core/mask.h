// Who sees whom. A Band is a strip around a diagonal, cut into chunks. Loops on the CPU and the GPU
// and counts of operations ask it the same questions: which keys does a row see, and is none, some
// or all of a rectangle of rows and keys visible.
#pragma once

#include "core/base.h"

namespace tilewise::core {

enum class Cover { kNone, kSome, kAll };

// A limit of this size does not limit: no index reaches it, and sums of such limits do not
// overflow.
inline constexpr int64 kUnlimited = int64{1} << 60;

class Band {
 public:
  int64 queries = 0, keys = 0;                  // lengths of this sequence
  int64 left = kUnlimited, right = kUnlimited;  // -left <= j - i - diagonal <= right
  int64 diagonal = 0;
  int64 chunk = 0;  // 0 = none

  TW_HD constexpr Range visible_keys(int64 query) const {
    return clip(position(query), left, right, 0, keys);
  }

  // The queries that see `key`; backward walks these.
  TW_HD constexpr Range visible_queries(int64 key) const {
    return clip(key, right, left, diagonal, queries);
  }

  TW_HD constexpr bool visible(int64 query, int64 key) const {
    return visible_keys(query).contains(key);
  }

  // Keys outside this range are hidden from all of `rows`. Both ends of a row's range never
  // decrease from row to row, so the first and the last row say everything.
  TW_HD constexpr Range keys_of(Range rows) const {
    return {visible_keys(rows.begin).begin, visible_keys(rows.end - 1).end};
  }

  TW_HD constexpr Range queries_of(Range columns) const {
    return {visible_queries(columns.begin).begin, visible_queries(columns.end - 1).end};
  }

  TW_HD constexpr Cover cover(Range rows, Range columns) const {
    const Range last = visible_keys(rows.end - 1), first = visible_keys(rows.begin);
    if (rows.empty() || columns.empty() || !touches(rows, columns)) return Cover::kNone;
    if (last.begin <= columns.begin && columns.end <= first.end) return Cover::kAll;
    return Cover::kSome;
  }

 private:
  // Where a query stands among the keys.
  TW_HD constexpr int64 position(int64 query) const { return query + diagonal; }

  // Where the chunk of `position` begins.
  TW_HD constexpr int64 chunk_begin(int64 position) const {
    return floor_div(position, chunk) * chunk;
  }

  // What `position` sees: the part of [position - before, position + after] that lies in its chunk,
  // moved by -shift into the other side's indices and cut to that side's `length`.
  TW_HD constexpr Range clip(int64 position, int64 before, int64 after, int64 shift,
                             int64 length) const {
    Range seen{position - before, position + after + 1};
    if (chunk > 0) {
      const int64 begin = chunk_begin(position);
      seen = intersect(seen, {begin, begin + chunk});
    }
    const int64 begin = smaller(larger(seen.begin - shift, int64{0}), length);
    const int64 end = smaller(larger(seen.end - shift, begin), length);
    return {begin, end};
  }

  // Whether any pair of the rectangle is visible. In a rectangle j - i takes every value between
  // its extremes, so it is enough to compare that interval with the band's. Pairs in one chunk form
  // a square, so with chunks this compares the part of the rectangle in each square.
  TW_HD constexpr bool touches(Range rows, Range columns) const {
    const Range r = intersect(rows, {0, queries}), c = intersect(columns, {0, keys});
    if (r.empty() || c.empty()) return false;
    if (chunk == 0) return meets(r, c);
    const int64 first = larger(floor_div(c.begin, chunk), floor_div(r.begin + diagonal, chunk));
    const int64 last = smaller(floor_div(c.end - 1, chunk), floor_div(r.end - 1 + diagonal, chunk));
    for (int64 n = first; n <= last; ++n) {
      const Range square{n * chunk, (n + 1) * chunk};
      if (meets(intersect(r, {square.begin - diagonal, square.end - diagonal}),
                intersect(c, square)))
        return true;
    }
    return false;
  }

  TW_HD constexpr bool meets(Range r, Range c) const {
    if (r.empty() || c.empty() || -left > right) return false;
    const int64 low = c.begin - (r.end - 1) - diagonal, high = c.end - 1 - r.begin - diagonal;
    return low <= right && -left <= high;
  }
};

// Causal over four keys: query 1 sees keys 0 and 1, and queries 0 and 1 see neither key 2 nor 3.
static_assert(Band{.queries = 4, .keys = 4, .right = 0}.visible_keys(1) == Range{0, 2});
static_assert(Band{.queries = 4, .keys = 4, .right = 0}.cover({0, 2}, {2, 4}) == Cover::kNone);

// One (batch, head) of a mask given by blocks: a byte for each block of `rows` queries by `columns`
// keys. Queries and keys beyond the last block must not be asked about.
struct BlockMask {
  const uint8* present = nullptr;  // null: everything is present
  int64 row_stride = 0;
  int64 rows = 0, columns = 0;  // size of one block

  TW_HD constexpr bool visible(int64 query, int64 key) const {
    return !present || present[query / rows * row_stride + key / columns] != 0;
  }

  TW_HD constexpr Cover cover(Range r, Range c) const {
    if (!present) return Cover::kAll;
    bool any = false, all = true;
    for (int64 i = r.begin / rows; i <= (r.end - 1) / rows; ++i) {
      for (int64 j = c.begin / columns; j <= (c.end - 1) / columns; ++j) {
        const bool here = present[i * row_stride + j] != 0;
        any = any || here;
        all = all && here;
      }
    }
    return all ? Cover::kAll : any ? Cover::kSome : Cover::kNone;
  }
};

TW_HD constexpr Cover both(Cover a, Cover b) {
  return a < b ? a : b;
}

}  // namespace tilewise::core
