// The kernel before backward's tiles: what is known of each row of queries, and a workspace to add
// to. A block has kBackwardRows queries of one head.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/kernels/band.h"
#include "backends/cuda/kernels/score/shape.h"
#include "backends/cuda/kernels/sm80/backward_block.h"
#include "backends/cuda/kernels/sm80/backward_held.h"
#include "backends/cuda/kernels/sm80/backward_load.h"

namespace tilewise::cuda::sm80 {

struct BackwardRowsMemory {
  Place queries, keys;
  int64 padded;  // the tile's first row in the workspace
  float between[kRowThreads / kWarp];
};

struct RowWork {
  int64 b, h, tile;
};

TW_DEVICE RowWork row_work_at(const Backward& p, int64 task) {
  const int64 tiles = row_tiles(p.shape), above = task / tiles;
  return {above / p.shape.heads, above % p.shape.heads, task % tiles};
}

// The products of a piece of the output with what arrives at it.
template <DType type>
TW_DEVICE float dot(const EightElements& a, const EightElements& b) {
  const auto element = [](uint32 pair, int32 half) {
    const auto code = static_cast<uint16>(pair >> half * 16);
    return type == DType::kBFloat16 ? from_bfloat16(code) : from_float16(code);
  };
  float sum = 0;
  TW_UNROLL
  for (int32 n = 0; n < 8; ++n)
    sum += element(a.words[n / 2], n % 2) * element(b.words[n / 2], n % 2);
  return sum;
}

// So many threads share a row.
TW_DEVICE int32 threads_of_row(int32 dim) {
  return dim <= 64 ? 8 : dim <= 128 ? 16 : 32;
}

// What a row's lse and delta come to, and its share of the sink's gradient.
struct KnownRow {
  float lse, minus_delta, of_sink;
};

// What a thread sums up of its rows.
struct RowSums {
  float of_sink;
  float apart;  // how many are
};

// -delta of what the products of a row come to, and of what arrives at its lse.
TW_DEVICE float with_lse(const Backward& p, float sum, const Place& queries, int64 h, int64 row) {
  const Tensor& lse = p.in.incoming_lse;
  if (!lse) return sum;
  return sum + load_wide<float>(lse, lse.offset(queries.batch, h, queries.first + row, 0));
}

TW_DEVICE float lse_of(const Backward& p, const Place& queries, int64 h, int64 row) {
  const Tensor& lse = p.in.lse;
  return load_wide<float>(lse, lse.offset(queries.batch, h, queries.first + row, 0));
}

// Of an existing row, whose lse is `given`.
TW_DEVICE KnownRow know_row(const Backward& p, int64 h, float given, float minus_delta) {
  const float in_log2 = core::row_of(given).max;
  const bool sees = in_log2 != -core::infinity<float>();
  KnownRow known{sees ? in_log2 : core::infinity<float>(), minus_delta, 0};
  if (!p.out.sinks || !sees) return known;
  const float sink =
      core::to_log2(load_wide<float>(p.scoring.sinks, p.scoring.sinks.offset(0, h, 0, 0)));
  known.of_sink = core::exp2(smaller_or_nan(sink - in_log2, 0.0f)) * minus_delta;
  return known;
}

// So many rows a thread reads at once, so that one wait is for all of them.
inline constexpr int32 kRowsAtOnce = 4;

// Which rows of a tile a thread reads a piece of: `first`, and every further one `apart`.
struct RowSlice {
  int32 piece, first, apart;
};

// Of rows i, i + apart, ...: a piece each, and the lse of row number `piece`, which the thread has
// to work out. In place of rows that do not exist it is row 0 of the sequence.
struct RowsRead {
  EightElements output[kRowsAtOnce], incoming[kRowsAtOnce];
  float lse;
};

TW_DEVICE RowsRead read_rows(const Backward& p, const Place& queries, const RowWork& work,
                             const RowSlice& slice, int32 i) {
  const auto existing = [&](int32 n) {
    const int64 row = work.tile * kBackwardRows + i + n * slice.apart;
    return row < queries.length ? row : 0;
  };
  RowsRead read;
  TW_UNROLL
  for (int32 n = 0; n < kRowsAtOnce; ++n) {
    const int64 row = queries.first + existing(n);
    const Rows &output = p.in.output, &incoming = p.in.incoming;
    read.output[n] = piece_at(output, output.at(queries.batch, work.h, row), slice.piece);
    read.incoming[n] = piece_at(incoming, incoming.at(queries.batch, work.h, row), slice.piece);
  }
  read.lse = lse_of(p, queries, work.h, existing(slice.piece % kRowsAtOnce));
  return read;
}

// Of a row: its lse, and -delta but for the gradient that arrives at the lse.
struct RowSum {
  float lse, minus_delta;
};

// Of row number `piece` of those read.
template <DType type>
TW_DEVICE RowSum sum_pieces(const RowsRead& read, int32 piece, int32 sharers) {
  RowSum own{read.lse, 0};
  TW_UNROLL
  for (int32 n = 0; n < kRowsAtOnce; ++n) {
    float sum = -dot<type>(read.output[n], read.incoming[n]);
    for (int32 bits = sharers / 2; bits > 0; bits /= 2) sum += shuffle(sum, bits);
    if (piece == n) own.minus_delta = sum;
  }
  return own;
}

// Row i of the tile. One that does not exist sees nothing.
TW_DEVICE KnownRow keep_row(const Backward& p, const BackwardRowsMemory& memory,
                            const RowWork& work, int32 i, RowSum sum) {
  const int64 row = work.tile * kBackwardRows + i;
  KnownRow known{core::infinity<float>(), 0, 0};
  if (row < memory.queries.length)
    known = know_row(p, work.h, sum.lse, with_lse(p, sum.minus_delta, memory.queries, work.h, row));
  const int64 at = memory.padded + i;
  const bool is_one = is_apart(known.lse);
  p.between.lse[at] = known.lse;  // of one that is apart, until keep_apart
  p.between.apart[at] = is_one ? known.lse : 0.0f;
  p.between.minus_delta[at] = known.minus_delta;
  return known;
}

// Behind a barrier, of tiles that have a row apart. They are rare, and here they cost the others no
// registers.
template <DType type>
TW_DEVICE void keep_apart(const Backward& p, const BackwardRowsMemory& memory,
                          const RowWork& work) {
  for (int32 i = thread_index(); i < kBackwardRows; i += kRowThreads) {
    const int64 at = memory.padded + i, row = work.tile * kBackwardRows + i;
    const float lse = p.between.apart[at];
    const HeldRow place{work.b, work.h, row, memory.queries, memory.keys};
    if (lse != 0) p.between.lse[at] = lse_of_apart<type, score::kEveryFeature>(p, place, lse);
  }
}

// ALiBi's of a head, in units of log2.
TW_DEVICE float slope_of(const Backward& p, const RowWork& work) {
  const Tensor& slopes = p.scoring.slopes;
  if (!slopes) return 0;
  return score::slope_in_log2(load_wide<float>(slopes, slopes.offset(work.b, work.h, 0, 0)));
}

// What the block's part of the workspace begins with.
TW_DEVICE void clear_query_sums(const Backward& p, const BackwardRowsMemory& memory) {
  const int32 dim = p.plan.tiles.dim;
  auto* to = reinterpret_cast<FourNumbers*>(p.between.query + memory.padded * dim);
  for (int32 n = thread_index(); n < kBackwardRows * dim / 4; n += kRowThreads) to[n] = {};
}

// All rows of the tile, and its part of the workspace: that is cleared while the first rows come.
template <DType type>
TW_DEVICE RowSums know_rows(const Backward& p, const BackwardRowsMemory& memory,
                            const RowWork& work) {
  const int32 sharers = threads_of_row(static_cast<int32>(p.shape.value_dim));
  const RowSlice slice{thread_index() % sharers, thread_index() / sharers, kRowThreads / sharers};
  RowSums sums{};
  TW_ROLLED
  for (int32 i = slice.first; i < kBackwardRows; i += kRowsAtOnce * slice.apart) {
    const RowsRead read = read_rows(p, memory.queries, work, slice, i);
    if (i == slice.first) clear_query_sums(p, memory);
    const RowSum sum = sum_pieces<type>(read, slice.piece, sharers);
    const int32 own = i + slice.piece * slice.apart;
    if (slice.piece >= kRowsAtOnce) continue;
    const KnownRow known = keep_row(p, memory, work, own, sum);
    sums.apart += is_apart(known.lse) ? 1.0f : 0.0f;
    sums.of_sink += known.of_sink;
  }
  return sums;
}

TW_DEVICE void clear_turns(const Backward& p, const RowWork& work) {
  const BackwardShape& tiles = p.plan.tiles;
  const int64 all = query_tiles(p.shape, tiles);
  const int64 per = kBackwardRows / tiles.queries, first = work.tile * per;
  const int64 tile = first + thread_index();
  if (thread_index() < per && tile < all)
    p.between.turns[(work.b * p.shape.heads + work.h) * all + tile] = 0;
}

// A tile of the bias's gradient.
struct BiasTile {
  uint32 head, down, across;  // of all heads
};

// Quotients of half as many digits are made in a quarter of the time.
TW_DEVICE BiasTile bias_tile_at(const Backward& p, int64 task) {
  const BiasTiles tiles = bias_tiles(p.out.bias_size, p.plan.tiles);
  const auto n = static_cast<uint32>(task), down = static_cast<uint32>(tiles.down);
  const uint32 i = n / static_cast<uint32>(tiles.across);
  return {i / down, i % down, n % static_cast<uint32>(tiles.across)};
}

// Whether some query of it may see some key. The band says so where all sequences have one length,
// which no table tells; it is right for `Meeting` to meet fewer.
TW_DEVICE bool is_met(const Backward& p, BiasTile tile) {
  const auto has_table = [](const Side& side) {
    return side.offsets || side.used || side.start || side.batch_index;
  };
  const core::Band band = band_of(p.scoring.mask, p.shape.queries, p.shape.keys);
  if (p.out.bias_size.row == 1 || band.chunk > 0 || has_table(p.queries) || has_table(p.keys))
    return true;
  const BackwardShape& shape = p.plan.tiles;
  const int64 query = int64{tile.down} * shape.queries + band.diagonal;
  const int64 key = int64{tile.across} * shape.keys;
  return query - band.left < key + shape.keys && key <= query + shape.queries - 1 + band.right;
}

// By all blocks together, of tiles that something is added to.
TW_DEVICE void clear_bias_tiles(const Backward& p) {
  const int32 fours = p.plan.tiles.queries * p.plan.tiles.keys / 4;
  for_each_task(bias_tasks(p), [&](int64 task) {
    if (!is_met(p, bias_tile_at(p, task))) return;
    auto* to = reinterpret_cast<FourNumbers*>(p.between.bias) + task * fours;
    for (int32 n = thread_index(); n < fours; n += kRowThreads) to[n] = {};
  });
}

// All blocks together. What is cleared is filled up to whole fours.
TW_DEVICE void clear_bias(const Backward& p) {
  if (p.between.bias_in_tiles) return clear_bias_tiles(p);
  auto* to = reinterpret_cast<FourNumbers*>(p.between.bias);
  const int64 fours = core::ceil_div(bias_count(p.out.bias_size), int64{4});
  for (int64 n = block_index() * kRowThreads + thread_index(); n < fours;
       n += block_count() * kRowThreads)
    to[n] = {};
}

// The sum of what all threads brought, in thread 0.
template <int32 warps>
TW_DEVICE float sum_of_block(float number, float (&between)[warps]) {
  const float sum = warp_sum(number);
  block_barrier();
  if (lane_index() == 0) between[warp_index()] = sum;
  block_barrier();
  float total = 0;
  for (const float each : between) total += each;
  return total;
}

template <DType type>
TW_DEVICE void backward_rows(const Backward& p) {
  auto& memory = shared_memory<BackwardRowsMemory>();
  if (p.between.bias) clear_bias(p);
  for_each_task(row_tasks(p.shape), [&](int64 task) {
    const RowWork work = row_work_at(p, task);
    block_barrier();
    if (thread_index() == 0) {
      uint32 faults = 0;
      memory.queries = place_of(p.queries, work.b, faults);
      memory.keys = place_of(p.keys, work.b, faults);
      memory.padded = work.h * p.between.padded_rows +
                      padded_first(p.queries, memory.queries, work.b, p.shape.queries) +
                      work.tile * kBackwardRows;
      report(p.error, faults);
    }
    block_barrier();
    RowSums sums{};
    const bool exists = work.tile * kBackwardRows < memory.queries.length;
    if (exists) sums = know_rows<type>(p, memory, work);
    if (p.between.turns) clear_turns(p, work);
    const float apart = sum_of_block(sums.apart, memory.between);
    if (apart > 0) keep_apart<type>(p, memory, work);
    if (exists && thread_index() == 0)
      p.between.tiles[memory.padded / kBackwardRows] = {apart > 0 ? 1 : 0, slope_of(p, work), {}};
    if (!p.between.sinks) return;
    const float total = sum_of_block(sums.of_sink, memory.between);
    if (thread_index() == 0) p.between.sinks[task] = total;
  });
}

}  // namespace tilewise::cuda::sm80
