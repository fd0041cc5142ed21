// The kernel after backward's tiles: sums of the workspace, rounded to where they are wanted.
#pragma once

#include "backends/cuda/device/order.h"
#include "backends/cuda/kernels/sm80/backward_rows.h"

namespace tilewise::cuda::sm80 {

// Where the sums of a tile of queries lie, and how: see SumOrder.
struct QuerySumsTile {
  const float* sums;  // of kBackwardRows rows
  const BackwardShape& tiles;

  // Numbers 8 * piece and on of a row.
  TW_DEVICE void read(int32 row, int32 piece, float (&numbers)[8]) const {
    const SumOrder order{tiles.threads(), kAddsFour};
    const float* tile = sums + row / tiles.queries * tiles.queries * tiles.dim;
    const int32 down = row % tiles.queries / 16, across = tiles.gradient_across();
    const int32 warp = down / tiles.gradient_down() * tiles.warps_across() + piece / across;
    const int32 number = down % tiles.gradient_down() * across + piece % across;
    const int32 lane = row % 8 * 4, lower = row % 16 / 8;
    const int32 half = 2 * lower;
    TW_UNROLL
    for (int32 n = 0; n < 8; ++n)
      numbers[n] = tile[order.place(number, warp * kWarp + lane + n / 2, half + n % 2)];
  }
};

template <DType type>
TW_DEVICE EightElements rounded(const float (&numbers)[8], float factor) {
  EightElements piece;
  TW_UNROLL
  for (int32 n = 0; n < 4; ++n)
    piece.words[n] = pair_of<type>(numbers[2 * n] * factor, numbers[2 * n + 1] * factor);
  return piece;
}

template <DType type>
TW_DEVICE void finish_query(const Backward& p, BackwardRowsMemory& memory, int64 task) {
  const RowWork work = row_work_at(p, task);
  const BackwardShape& tiles = p.plan.tiles;
  block_barrier();
  if (thread_index() == 0) {
    uint32 faults = 0;
    memory.queries = place_of(p.queries, work.b, faults);
    memory.padded = work.h * p.between.padded_rows +
                    padded_first(p.queries, memory.queries, work.b, p.shape.queries) +
                    work.tile * kBackwardRows;
  }
  block_barrier();
  const Place& queries = memory.queries;
  const QuerySumsTile from{p.between.query + memory.padded * tiles.dim, tiles};
  const auto left = core::smaller<int64>(kBackwardRows, queries.length - work.tile * kBackwardRows);
  // Sixteen rows of a piece lie side by side.
  for (int32 n = thread_index(); n < kBackwardRows * tiles.dim / 8; n += kRowThreads) {
    const int32 pieces = tiles.dim / 8, piece = n / 16 % pieces;
    const int32 row = n / 16 / pieces * 16 + n % 16;
    if (row >= left || piece * kPieceBytes >= p.out.query.bytes) continue;
    float numbers[8];
    from.read(row, piece, numbers);
    const int64 at = queries.first + work.tile * kBackwardRows + row;
    put_piece(p.out.query, p.out.query.at(queries.batch, work.h, at), piece,
              rounded<type>(numbers, p.factors.scale));
  }
}

inline constexpr int64 kMostInt32 = 0x7FFFFFFF;

// Where numbers `first` and on of the bias's gradient belong, counted along its columns.
TW_DEVICE int64 offset_of_bias(const Backward& p, int64 first) {
  const Axes& size = p.out.bias_size;
  if (bias_count(size) <= kMostInt32) {
    // Quotients of half as many digits are made in a quarter of the time.
    const auto n = static_cast<uint32>(first), columns = static_cast<uint32>(size.column);
    const auto rows = static_cast<uint32>(size.row), heads = static_cast<uint32>(size.head);
    const uint32 i = n / columns, j = i / rows;
    return p.out.bias.offset(j / heads, j % heads, i % rows, n % columns);
  }
  const int64 i = first / size.column, j = i / size.row;
  return p.out.bias.offset(j / size.head, j % size.head, i % size.row, first % size.column);
}

// Whether eight numbers of the bias's gradient that follow each other lie in one row, and make a
// piece of it in the inputs' type.
template <DType type>
TW_DEVICE bool comes_in_eights(const Backward& p) {
  const Tensor& to = p.out.bias;
  const Axes& stride = to.stride;
  const auto steps = static_cast<uint64>(stride.batch | stride.head | stride.row);
  return to.dtype == type && p.out.bias_size.column % 8 == 0 && stride.column == 1 &&
         ((steps * 2 | reinterpret_cast<uint64>(to.data)) & (kPieceBytes - 1)) == 0;
}

struct alignas(kPieceBytes) EightNumbers {
  float at[8];
};

template <DType type>
TW_DEVICE void finish_bias(const Backward& p, int64 part) {
  const int64 begin = part * kBiasPart;
  const int64 end = core::smaller(begin + kBiasPart, bias_count(p.out.bias_size));
  if (comes_in_eights<type>(p)) {
    for (int64 n = begin + thread_index() * 8; n < end; n += kRowThreads * 8) {
      const EightNumbers numbers = *reinterpret_cast<const EightNumbers*>(p.between.bias + n);
      *reinterpret_cast<EightElements*>(p.out.bias.data + offset_of_bias(p, n) * 2) =
          rounded<type>(numbers.at, 1);
    }
    return;
  }
  for (int64 n = begin + thread_index(); n < end; n += kRowThreads)
    store(p.out.bias, offset_of_bias(p, n), p.between.bias[n]);
}

// Of a tile of the bias's gradient, eight keys of a query: numbers 8 * piece and on of its row.
TW_DEVICE void add_bias_sums(const float* sums, const BackwardShape& tiles, int32 row, int32 piece,
                             float (&numbers)[8]) {
  const SumOrder order{tiles.threads(), kAddsFour};
  const int32 of_warp = 8 * tiles.query_pieces, sixteens = tiles.keys / (16 * tiles.key_warps);
  const int32 sixteen = piece / 2;
  const int32 warp = sixteen / sixteens * tiles.query_warps + row / of_warp;
  const int32 number = sixteen % sixteens * tiles.query_pieces + row % of_warp / 8;
  const int32 i = piece % 2 * 2 + row % 2;
  TW_UNROLL
  for (int32 n = 0; n < 8; ++n)
    numbers[n] += sums[order.place(number, warp * kWarp + n * 4 + row % 8 / 2, i)];
}

template <DType type>
TW_DEVICE void finish_bias_tile(const Backward& p, int64 task) {
  const BackwardShape& shape = p.plan.tiles;
  const Axes& size = p.out.bias_size;
  const BiasTile tile = bias_tile_at(p, task);
  const int64 down = tile.down, across = tile.across;
  const auto heads = static_cast<uint32>(size.head);
  const float* sums = p.between.bias + task * (shape.queries * shape.keys);
  const int32 pieces = shape.keys / 8;
  const auto rows =
      static_cast<int32>(core::smaller(size.row - down * shape.queries, int64{shape.queries}));
  const auto keys =
      static_cast<int32>(core::smaller(size.column - across * shape.keys, int64{shape.keys}));
  const bool in_eights = comes_in_eights<type>(p), has_sums = is_met(p, tile);
  // Eight queries of some pieces lie side by side.
  TW_ROLLED
  for (int32 x = thread_index(); x < core::round_up(rows, 8) * pieces; x += kRowThreads) {
    const int32 row = x / 8 / pieces * 8 + x % 8, piece = x / 8 % pieces, key = piece * 8;
    if (row >= rows || key >= keys) continue;
    float numbers[8] = {};
    // Where the rows are one, all of a tile are.
    const int32 end = size.row == 1 ? shape.queries : row + 1;
    TW_ROLLED
    for (int32 each = row; has_sums && each < end; ++each)
      add_bias_sums(sums, shape, each, piece, numbers);
    const int64 to = p.out.bias.offset(tile.head / heads, tile.head % heads,
                                       down * shape.queries + row, across * shape.keys + key);
    if (in_eights) {
      *reinterpret_cast<EightElements*>(p.out.bias.data + to * 2) = rounded<type>(numbers, 1);
      continue;
    }
    for (int32 n = 0; n < 8 && key + n < keys; ++n)
      store(p.out.bias, to + n * p.out.bias.stride.column, numbers[n]);
  }
}

// So many shares from `first` on, in an order that is always the same.
TW_DEVICE float sum_of_shares(const float* first, int64 count) {
  float sum = 0;
  for (int64 n = thread_index(); n < count; n += kRowThreads) sum += first[n];
  return sum;
}

// Of a head, the gradient of its slope (of one sequence, or of all), or of its sink.
TW_DEVICE void finish_head(const Backward& p, BackwardRowsMemory& memory, int64 task) {
  const BackwardShape& tiles = p.plan.tiles;
  const int64 heads = p.shape.heads, h = task % heads, of = task / heads;
  const int64 slopes = p.out.slopes ? p.out.slopes_batch : 0;
  const bool is_slope = of < slopes;
  const int64 count = is_slope ? key_tiles(p.shape, tiles) * tiles.warps() : sink_shares(p);
  const float* shares = is_slope ? p.between.slopes : p.between.sinks;
  const bool of_one = is_slope && slopes > 1;
  const int64 first = of_one ? of : 0, end = of_one ? of + 1 : p.shape.batch;
  float sum = 0;
  for (int64 b = first; b < end; ++b) sum += sum_of_shares(shares + (b * heads + h) * count, count);
  const float total = sum_of_block(sum, memory.between);
  const Tensor& to = is_slope ? p.out.slopes : p.out.sinks;
  if (thread_index() == 0) store(to, to.offset(is_slope ? of : 0, h, 0, 0), total);
}

template <DType type>
TW_DEVICE void backward_finish(const Backward& p) {
  auto& memory = shared_memory<BackwardRowsMemory>();
  const FinishTasks tasks = finish_tasks(p);
  for_each_task(tasks.query + tasks.bias + tasks.heads, [&](int64 task) {
    if (task < tasks.query) return finish_query<type>(p, memory, task);
    const int64 rest = task - tasks.query;
    if (rest < tasks.bias)
      return p.between.bias_in_tiles ? finish_bias_tile<type>(p, rest) : finish_bias<type>(p, rest);
    finish_head(p, memory, rest - tasks.bias);
  });
}

}  // namespace tilewise::cuda::sm80
