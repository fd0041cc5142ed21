// The first kernel of backward: for each row it converts the lse to units of log2 and computes
// -delta, and it clears sums in the workspace. A task is kBackwardRows queries of one head.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/kernels/band.h"
#include "backends/cuda/kernels/score/shape.h"
#include "backends/cuda/kernels/sm80/backward_apart.h"
#include "backends/cuda/kernels/sm80/backward_block.h"
#include "backends/cuda/kernels/sm80/backward_load.h"

namespace tilewise::cuda::sm80 {

struct BackwardRowsMemory {
  Place queries, keys;
  int64 padded;  // the tile's first row in the workspace
  float warp_sums[kRowThreads / kWarp];
};

struct RowWork {
  int64 b, h, tile;
};

TW_DEVICE RowWork row_work_at(const Backward& p, int64 task) {
  const int64 tiles = row_tiles(p.shape), above = task / tiles;
  return {above / p.shape.heads, above % p.shape.heads, task % tiles};
}

// The dot product of two pieces, one of the output and one of the incoming gradient.
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

// How many threads read a row together, a piece each.
TW_DEVICE int32 threads_of_row(int32 dim) {
  return dim <= 64 ? 8 : dim <= 128 ? 16 : 32;
}

// A row's lse in units of log2, its -delta, and its term of the sink's gradient.
struct RowStatistics {
  float lse, minus_delta, of_sink;
};

// A thread's sums over its rows.
struct RowSums {
  float of_sink;  // their terms of the sink's gradient
  float apart;    // the number of rows apart
};

// A row's -delta. `sum` is -(output . incoming gradient of the output); the incoming gradient of
// the row's lse, if there is one, is added to it.
TW_DEVICE float with_lse(const Backward& p, float sum, const Place& queries, int64 h, int64 row) {
  const Tensor& lse = p.in.incoming_lse;
  if (!lse) return sum;
  return sum + load_wide<float>(lse, lse.offset(queries.batch, h, queries.first + row, 0));
}

TW_DEVICE float lse_of(const Backward& p, const Place& queries, int64 h, int64 row) {
  const Tensor& lse = p.in.lse;
  return load_wide<float>(lse, lse.offset(queries.batch, h, queries.first + row, 0));
}

// The statistics of an existing row; `given` is the lse in natural units that the caller gave.
TW_DEVICE RowStatistics row_statistics(const Backward& p, int64 h, float given, float minus_delta) {
  const float in_log2 = core::row_of(given).max;
  const bool sees = in_log2 != -core::infinity<float>();
  RowStatistics known{sees ? in_log2 : core::infinity<float>(), minus_delta, 0};
  if (!p.out.sinks || !sees) return known;
  const float sink =
      core::to_log2(load_wide<float>(p.scoring.sinks, p.scoring.sinks.offset(0, h, 0, 0)));
  known.of_sink = core::exp2(smaller_or_nan(sink - in_log2, 0.0f)) * minus_delta;
  return known;
}

// How many rows a thread loads before it uses them, so that their latencies overlap.
inline constexpr int32 kRowsAtOnce = 4;

// Which piece a thread reads, and of which rows of a tile: `first`, first + step, ...
struct ThreadRows {
  int32 piece, first, step;
};

// What a thread loads of kRowsAtOnce rows i, i + step, ...: a piece of each one's output and
// incoming gradient, and the lse of the row whose result the thread stores. For rows that do not
// exist, row 0 of the sequence is loaded; its numbers are not used.
struct RowPieces {
  EightElements output[kRowsAtOnce], incoming[kRowsAtOnce];
  float lse;
};

TW_DEVICE RowPieces load_row_pieces(const Backward& p, const Place& queries, const RowWork& work,
                                    const ThreadRows& rows, int32 i) {
  const auto existing = [&](int32 n) {
    const int64 row = work.tile * kBackwardRows + i + n * rows.step;
    return row < queries.length ? row : 0;
  };
  RowPieces read;
  TW_UNROLL
  for (int32 n = 0; n < kRowsAtOnce; ++n) {
    const int64 row = queries.first + existing(n);
    const Rows &output = p.in.output, &incoming = p.in.incoming;
    read.output[n] = piece_at(output, output.at(queries.batch, work.h, row), rows.piece);
    read.incoming[n] = piece_at(incoming, incoming.at(queries.batch, work.h, row), rows.piece);
  }
  read.lse = lse_of(p, queries, work.h, existing(rows.piece % kRowsAtOnce));
  return read;
}

// A row's lse as given, and its -delta without the incoming gradient of the lse.
struct RowSum {
  float lse, minus_delta;
};

// Sums the products of each row over the threads that read it together. Returns the sum of row
// number `piece` of the kRowsAtOnce, whose result this thread stores.
template <DType type>
TW_DEVICE RowSum sum_pieces(const RowPieces& read, int32 piece, int32 threads) {
  RowSum own{read.lse, 0};
  TW_UNROLL
  for (int32 n = 0; n < kRowsAtOnce; ++n) {
    float sum = -dot<type>(read.output[n], read.incoming[n]);
    for (int32 bits = threads / 2; bits > 0; bits /= 2) sum += shuffle(sum, bits);
    if (piece == n) own.minus_delta = sum;
  }
  return own;
}

// Computes and stores the statistics of row i of the tile. A row that does not exist sees no key.
TW_DEVICE RowStatistics store_row(const Backward& p, const BackwardRowsMemory& memory,
                                  const RowWork& work, int32 i, RowSum sum) {
  const int64 row = work.tile * kBackwardRows + i;
  RowStatistics known{core::infinity<float>(), 0, 0};
  if (row < memory.queries.length)
    known = row_statistics(p, work.h, sum.lse,
                           with_lse(p, sum.minus_delta, memory.queries, work.h, row));
  const int64 at = memory.padded + i;
  const bool row_is_apart = is_apart(known.lse);
  p.workspace.lse[at] = known.lse;  // store_apart replaces that of a row apart
  p.workspace.apart[at] = row_is_apart ? known.lse : 0.0f;
  p.workspace.minus_delta[at] = known.minus_delta;
  return known;
}

// Replaces the lse of rows apart in the workspace by remaining_lse, for a tile that has some. Needs
// a barrier after store_row. It is a loop of its own, so that its registers are not added to those
// of compute_rows.
template <DType type>
TW_DEVICE void store_apart(const Backward& p, const BackwardRowsMemory& memory,
                           const RowWork& work) {
  for (int32 i = thread_index(); i < kBackwardRows; i += kRowThreads) {
    const int64 at = memory.padded + i, row = work.tile * kBackwardRows + i;
    const float lse = p.workspace.apart[at];
    const RowApart place{work.b, work.h, row, memory.queries, memory.keys};
    if (lse != 0) p.workspace.lse[at] = remaining_lse<type, score::kEveryFeature>(p, place, lse);
  }
}

// ALiBi's slope of the head, in units of log2.
TW_DEVICE float slope_of(const Backward& p, const RowWork& work) {
  const Tensor& slopes = p.scoring.slopes;
  if (!slopes) return 0;
  return score::slope_in_log2(load_wide<float>(slopes, slopes.offset(work.b, work.h, 0, 0)));
}

// Clears the tile's sums of the query's gradient in the workspace.
TW_DEVICE void clear_query_sums(const Backward& p, const BackwardRowsMemory& memory) {
  const int32 dim = p.plan.tiles.dim;
  auto* to = reinterpret_cast<FourNumbers*>(p.workspace.query + memory.padded * dim);
  for (int32 n = thread_index(); n < kBackwardRows * dim / 4; n += kRowThreads) to[n] = {};
}

// Computes and stores the statistics of all rows of the tile, and clears the tile's sums of the
// query's gradient while the first loads are in flight.
template <DType type>
TW_DEVICE RowSums compute_rows(const Backward& p, const BackwardRowsMemory& memory,
                               const RowWork& work) {
  const int32 threads = threads_of_row(static_cast<int32>(p.shape.value_dim));
  const ThreadRows rows{thread_index() % threads, thread_index() / threads, kRowThreads / threads};
  RowSums sums{};
  TW_ROLLED
  for (int32 i = rows.first; i < kBackwardRows; i += kRowsAtOnce * rows.step) {
    const RowPieces read = load_row_pieces(p, memory.queries, work, rows, i);
    if (i == rows.first) clear_query_sums(p, memory);
    const RowSum sum = sum_pieces<type>(read, rows.piece, threads);
    const int32 own = i + rows.piece * rows.step;
    if (rows.piece >= kRowsAtOnce) continue;
    const RowStatistics known = store_row(p, memory, work, own, sum);
    sums.apart += is_apart(known.lse) ? 1.0f : 0.0f;
    sums.of_sink += known.of_sink;
  }
  return sums;
}

// Clears the turn counters of the tiles of queries (of the tiles kernel) that lie in the task.
TW_DEVICE void clear_turns(const Backward& p, const RowWork& work) {
  const BackwardShape& tiles = p.plan.tiles;
  const int64 all = query_tiles(p.shape, tiles);
  const int64 per = kBackwardRows / tiles.queries, first = work.tile * per;
  const int64 tile = first + thread_index();
  if (thread_index() < per && tile < all)
    p.workspace.turns[(work.b * p.shape.heads + work.h) * all + tile] = 0;
}

// The place of a tile in the bias's gradient.
struct BiasTile {
  uint32 head, down, across;  // head counts the heads of all sequences
};

// In 32-bit integers, which divide several times as fast as 64-bit ones.
TW_DEVICE BiasTile bias_tile_at(const Backward& p, int64 task) {
  const BiasTiles tiles = bias_tiles(p.out.bias_size, p.plan.tiles);
  const auto n = static_cast<uint32>(task), down = static_cast<uint32>(tiles.down);
  const uint32 i = n / static_cast<uint32>(tiles.across);
  return {i / down, i % down, n % static_cast<uint32>(tiles.across)};
}

// Whether blocks may add to a tile of the bias's gradient: false only if none does. The band
// decides if all sequences have the same length (no tables), there are no chunks and the bias has
// more than one row; otherwise the result is true.
TW_DEVICE bool may_be_visible(const Backward& p, BiasTile tile) {
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

// Clears the tiles of the bias's gradient that blocks may add to. All blocks share the work.
TW_DEVICE void clear_bias_tiles(const Backward& p) {
  const int32 fours = p.plan.tiles.queries * p.plan.tiles.keys / 4;
  for_each_task(bias_tasks(p), [&](int64 task) {
    if (!may_be_visible(p, bias_tile_at(p, task))) return;
    auto* to = reinterpret_cast<FourNumbers*>(p.workspace.bias) + task * fours;
    for (int32 n = thread_index(); n < fours; n += kRowThreads) to[n] = {};
  });
}

// Clears the sums of the bias's gradient, four floats at a time; the workspace has room for a
// multiple of four. All blocks share the work.
TW_DEVICE void clear_bias(const Backward& p) {
  if (p.workspace.bias_in_tiles) return clear_bias_tiles(p);
  auto* to = reinterpret_cast<FourNumbers*>(p.workspace.bias);
  const int64 fours = core::ceil_div(bias_count(p.out.bias_size), int64{4});
  for (int64 n = block_index() * kRowThreads + thread_index(); n < fours;
       n += block_count() * kRowThreads)
    to[n] = {};
}

// The sum of `number` over all threads of the block.
template <int32 warps>
TW_DEVICE float sum_of_block(float number, float (&warp_sums)[warps]) {
  const float sum = warp_sum(number);
  block_barrier();
  if (lane_index() == 0) warp_sums[warp_index()] = sum;
  block_barrier();
  float total = 0;
  for (const float each : warp_sums) total += each;
  return total;
}

template <DType type>
TW_DEVICE void backward_rows(const Backward& p) {
  auto& memory = shared_memory<BackwardRowsMemory>();
  if (p.workspace.bias) clear_bias(p);
  for_each_task(row_tasks(p.shape), [&](int64 task) {
    const RowWork work = row_work_at(p, task);
    block_barrier();
    if (thread_index() == 0) {
      uint32 faults = 0;
      memory.queries = place_of(p.queries, work.b, faults);
      memory.keys = place_of(p.keys, work.b, faults);
      memory.padded = work.h * p.workspace.padded_rows +
                      padded_first(p.queries, memory.queries, work.b, p.shape.queries) +
                      work.tile * kBackwardRows;
      report(p.error, faults);
    }
    block_barrier();
    RowSums sums{};
    const bool exists = work.tile * kBackwardRows < memory.queries.length;
    if (exists) sums = compute_rows<type>(p, memory, work);
    if (p.workspace.turns) clear_turns(p, work);
    const float apart = sum_of_block(sums.apart, memory.warp_sums);
    if (apart > 0) store_apart<type>(p, memory, work);
    if (exists && thread_index() == 0)
      p.workspace.tiles[memory.padded / kBackwardRows] = {apart > 0 ? 1 : 0, slope_of(p, work), {}};
    if (!p.workspace.sinks) return;
    const float total = sum_of_block(sums.of_sink, memory.warp_sums);
    if (thread_index() == 0) p.workspace.sinks[task] = total;
  });
}

}  // namespace tilewise::cuda::sm80
