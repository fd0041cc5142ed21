// Rotary embedding, and appending new keys and values to a cache: element by element, in double,
// rounded once. A task is the rows of all heads of a token.
#pragma once

#include "backends/cuda/kernels/cache_ops.h"
#include "backends/cuda/kernels/place.h"
#include "backends/cuda/kernels/plain/launch.h"

namespace tilewise::cuda::plain {

// The rows of all heads of one token. Head h begins at `from + h * stride.head` of its tensor.
struct TokenRows {
  const Tensor &input, &output;
  int64 from, to;
  int64 heads, dim;
  const Rotation& rotation;
  int64 pairs;  // 0: rows are copied
  int64 position;
  bool inverse;
};

TW_DEVICE void rotate_pair(const TokenRows& token, int64 from, int64 to, int64 c) {
  const Rotation& rotation = token.rotation;
  const int64 first = rotation.interleaved ? 2 * c : c;
  const int64 second = rotation.interleaved ? 2 * c + 1 : c + token.pairs;
  const double x = load<double>(token.input, from + first);
  const double y = load<double>(token.input, from + second);
  const auto of = [&](const Tensor& table) {
    return load<double>(table, table.offset(0, 0, token.position, c));
  };
  const double cosine = of(rotation.cosine), along = of(rotation.sine);
  const double sine = token.inverse ? -along : along;
  store(token.output, to + first, x * cosine - y * sine);
  store(token.output, to + second, x * sine + y * cosine);
}

// Stores the rows of a token. A thread rotates one pair of elements at a time, or copies one
// element that follows the pairs.
TW_DEVICE void rotate_rows(const TokenRows& token) {
  if (token.from == kNowhere || token.to == kNowhere) return;
  const int64 units = token.dim - token.pairs;
  for (int64 n = thread_index(); n < token.heads * units; n += kThreads) {
    const int64 h = n / units, c = n % units;
    const int64 from = token.from + h * token.input.stride.head;
    const int64 to = token.to + h * token.output.stride.head;
    if (c < token.pairs) {
      rotate_pair(token, from, to, c);
      continue;
    }
    store(token.output, to + token.pairs + c, load<double>(token.input, from + token.pairs + c));
  }
}

// first + t if `first` is not negative and the sum is below `count`; else -1. Tables may hold any
// number, so the comparison is written such that nothing overflows.
TW_DEVICE int64 within(int64 first, int64 t, int64 count) {
  return first >= 0 && first < count - t ? first + t : -1;
}

// How many pairs to rotate: none at a position that the tables do not have, which is reported.
TW_DEVICE int64 pairs_at(const Rotation& rotation, int64 position, uint32& faults) {
  if (rotation.pairs == 0 || position >= 0) return rotation.pairs;
  faults |= kPositionFault;
  return 0;
}

// Up to batch * side.longest blocks.
TW_DEVICE void rotary(const Rotary& p) {
  for_each_task(p.batch * p.side.longest, [&](int64 task) {
    const int64 b = task / p.side.longest, t = task % p.side.longest;
    uint32 faults = 0;
    const Place place = place_of(p.side, b, faults);
    if (t < place.length) {
      const Spot spot = spot_of(p.side, place, t, faults);
      const int64 first = p.positions ? index_at(p.positions, b * p.positions.stride.batch) : 0;
      const int64 position = within(first, p.fixed ? 0 : t, p.rotation.positions);
      rotate_rows({p.input, p.output, spot.in(p.input, 0), spot.in(p.output, 0), p.heads, p.dim,
                   p.rotation, pairs_at(p.rotation, position, faults), position, p.inverse});
    }
    if (thread_index() == 0) report(p.error, faults);
  });
}

// Where row `row` of sequence b of the cache lies; nowhere, and reported, if `row` is negative.
TW_DEVICE Spot cached_spot(const Append& p, int64 b, int64 row, uint32& faults) {
  if (row < 0) {
    faults |= kLengthFault;
    return {-1, 0};
  }
  return spot_of(p.cache, {b, batch_of(p.cache, b, faults), 0, p.cache.rows}, row, faults);
}

// Up to batch * fresh.longest blocks. `rotary` rotates the queries.
TW_DEVICE void append(const Append& p) {
  for_each_task(p.batch * p.fresh.longest, [&](int64 task) {
    const int64 b = task / p.fresh.longest, t = task % p.fresh.longest;
    uint32 faults = 0;
    const Place place = place_of(p.fresh, b, faults);
    if (t < place.length) {
      const int64 length = index_at(p.lengths, b * p.lengths.stride.batch);
      const int64 row = within(length, t, p.cache.rows);
      const int64 position = within(length, t, p.rotation.positions);
      const Spot from = spot_of(p.fresh, place, t, faults), to = cached_spot(p, b, row, faults);
      rotate_rows({p.key, p.key_cache, from.in(p.key, 0), to.in(p.key_cache, 0), p.key_heads, p.dim,
                   p.rotation, pairs_at(p.rotation, position, faults), position, false});
      rotate_rows({p.value, p.value_cache, from.in(p.value, 0), to.in(p.value_cache, 0),
                   p.key_heads, p.value_dim, p.rotation, 0, 0, false});
    }
    if (thread_index() == 0) report(p.error, faults);
  });
}

}  // namespace tilewise::cuda::plain
