// The last kernel of backward: adds up partial sums in the workspace, rounds, and stores the
// gradients of query, bias, slopes and sinks.
#pragma once

#include "backends/cuda/device/order.h"
#include "backends/cuda/kernels/sm80/backward_rows.h"

namespace tilewise::cuda::sm80 {

// Piece `number` of the sums of one thread of the tiles kernel: two columns of a row, and the same
// two of the row eight below.
TW_DEVICE FourNumbers sums_at(const float* tile, const SumOrder& order, int32 number,
                              int32 thread) {
  if (order.four)
    return *reinterpret_cast<const FourNumbers*>(tile + order.place(number, thread, 0));
  FourNumbers sums;
  TW_UNROLL
  for (int32 i = 0; i < 4; ++i) sums.at[i] = tile[order.place(number, thread, i)];
  return sums;
}

// A lane's registers for two adjacent pieces (16 bytes each) of 16 rows, in the layout of
// accumulators: two columns of each piece, of a row and of the row eight below.
struct PairOfPieces {
  uint32 words[2][2];  // [piece][whether it is the row eight below]

  // Exchanges registers within each four lanes, so that each lane gets a whole piece: even lanes of
  // the upper row, odd ones of the lower row; lanes 0 and 1 the first piece, 2 and 3 the second.
  // Call it by all lanes of the warp.
  TW_DEVICE EightElements piece_of_lane() const {
    const bool has_lower = lane_index() % 2 != 0, has_second = lane_index() % 4 >= 2;
    uint32 half[2][2];  // [piece]: four columns of the lane's row
    TW_UNROLL
    for (int32 n = 0; n < 2; ++n) {
      const uint32 received = shuffle(has_lower ? words[n][0] : words[n][1], 1);
      half[n][0] = has_lower ? received : words[n][0];
      half[n][1] = has_lower ? words[n][1] : received;
    }
    EightElements whole;
    TW_UNROLL
    for (int32 i = 0; i < 2; ++i) {
      const uint32 received = shuffle(has_second ? half[0][i] : half[1][i], 2);
      whole.words[i] = has_second ? received : half[0][i];
      whole.words[2 + i] = has_second ? half[1][i] : received;
    }
    return whole;
  }
};

// Rounds the sums of two adjacent pieces, times `factor`, to the inputs' type.
template <DType type>
TW_DEVICE PairOfPieces round_pair(const FourNumbers (&sums)[2], float factor) {
  PairOfPieces pair;
  TW_UNROLL
  for (int32 n = 0; n < 2; ++n) {
    const auto& at = sums[n].at;
    pair.words[n][0] = pair_of<type>(at[0] * factor, at[1] * factor);
    pair.words[n][1] = pair_of<type>(at[2] * factor, at[3] * factor);
  }
  return pair;
}

template <DType type>
TW_DEVICE EightElements rounded(const float (&numbers)[8], float factor) {
  EightElements piece;
  TW_UNROLL
  for (int32 n = 0; n < 4; ++n)
    piece.words[n] = pair_of<type>(numbers[2 * n] * factor, numbers[2 * n + 1] * factor);
  return piece;
}

// kBackwardRows rows of the query's gradient, of which `rows` exist.
struct GradientRows {
  int64 batch, head, first;
  int32 rows;
};

// Stores two adjacent pieces of 16 rows; the first is piece `piece` of row `row`.
TW_DEVICE void store_pair(const Backward& p, const GradientRows& to, const PairOfPieces& pair,
                          int32 row, int32 piece) {
  const EightElements whole = pair.piece_of_lane();
  const int32 lane = lane_index(), i = row + lane / 4 + lane % 2 * 8;
  if (i >= to.rows) return;
  store_piece(p.out.query, p.out.query.at(to.batch, to.head, to.first + i), piece + lane % 4 / 2,
              whole);
}

// The sums of one thread of the tiles kernel: `down` x `across` pieces. `across` is even.
struct SumsOfThread {
  const float* tile;
  SumOrder order;
  int32 thread, down, across;

  // Calls body(two, m, n) for pieces n and n + 1 of each m. Four pieces are loaded before they are
  // used, so that their latencies overlap.
  template <class Body>
  TW_DEVICE void for_each_two(const Body& body) const {
    for (int32 m = 0; m < down; ++m) {
      TW_ROLLED
      for (int32 n = 0; n < across; n += 4) {
        const bool has_more = n + 2 < across;
        FourNumbers two[2], more[2]{};
        TW_UNROLL
        for (int32 i = 0; i < 2; ++i) {
          two[i] = sums_at(tile, order, m * across + n + i, thread);
          if (has_more) more[i] = sums_at(tile, order, m * across + n + 2 + i, thread);
        }
        body(two, m, n);
        if (has_more) body(more, m, n + 2);
      }
    }
  }
};

// Rounds and stores the sums of warp `warp` of the tiles kernel, for the tile of queries that
// begins at row `row`.
template <DType type>
TW_DEVICE void finish_part(const Backward& p, const GradientRows& to, const float* sums, int32 warp,
                           int32 row) {
  const BackwardShape& tiles = p.plan.tiles;
  const int32 down = tiles.gradient_down(), across = tiles.gradient_across();
  const int32 first = row + warp / tiles.warps_across() * down * 16;
  const int32 piece = warp % tiles.warps_across() * across;
  if (piece * kPieceBytes >= p.out.query.bytes) return;
  // Rows that do not exist have no sums to store.
  const int32 sixteens = core::smaller(down, (to.rows - first + 15) / 16);
  const SumsOfThread from{
      sums, {tiles.threads(), adds_four()}, warp * kWarp + lane_index(), sixteens, across};
  from.for_each_two([&](const FourNumbers(&two)[2], int32 m, int32 n) {
    store_pair(p, to, round_pair<type>(two, p.factors.scale), first + 16 * m, piece + n);
  });
}

// Stores kBackwardRows rows of the query's gradient.
template <DType type>
TW_DEVICE void finish_query(const Backward& p, BackwardRowsMemory& memory, int64 task) {
  const RowWork work = row_work_at(p, task);
  const BackwardShape& tiles = p.plan.tiles;
  block_barrier();
  if (thread_index() == 0) {
    uint32 faults = 0;
    memory.queries = place_of(p.queries, work.b, faults);
    memory.padded = work.h * p.workspace.padded_rows +
                    padded_first(p.queries, memory.queries, work.b, p.shape.queries) +
                    work.tile * kBackwardRows;
  }
  block_barrier();
  const Place& queries = memory.queries;
  const int64 first = work.tile * kBackwardRows;
  const auto rows = static_cast<int32>(core::smaller<int64>(kBackwardRows, queries.length - first));
  const GradientRows to{queries.batch, work.h, queries.first + first, rows};
  const float* sums = p.workspace.query + memory.padded * tiles.dim;
  for (int32 row = 0; row < rows; row += tiles.queries) {
    for (int32 warp = warp_index(); warp < tiles.warps(); warp += kRowThreads / kWarp)
      finish_part<type>(p, to, sums + row * tiles.dim, warp, row);
  }
}

inline constexpr int64 kMostInt32 = 0x7FFFFFFF;

// The offset of element `first` of the bias's gradient, counted row by row.
TW_DEVICE int64 offset_of_bias(const Backward& p, int64 first) {
  const Axes& size = p.out.bias_size;
  if (bias_count(size) <= kMostInt32) {
    // 32-bit integers divide several times as fast as 64-bit ones.
    const auto n = static_cast<uint32>(first), columns = static_cast<uint32>(size.column);
    const auto rows = static_cast<uint32>(size.row), heads = static_cast<uint32>(size.head);
    const uint32 i = n / columns, j = i / rows;
    return p.out.bias.offset(j / heads, j % heads, i % rows, n % columns);
  }
  const int64 i = first / size.column, j = i / size.row;
  return p.out.bias.offset(j / size.head, j % size.head, i % size.row, first % size.column);
}

// Whether the bias's gradient can be stored in pieces: eight contiguous, aligned elements of the
// inputs' type.
template <DType type>
TW_DEVICE bool is_stored_in_pieces(const Backward& p) {
  const Tensor& to = p.out.bias;
  const Axes& stride = to.stride;
  const auto steps = static_cast<uint64>(stride.batch | stride.head | stride.row);
  return to.dtype == type && p.out.bias_size.column % 8 == 0 && stride.column == 1 &&
         ((steps * 2 | reinterpret_cast<uint64>(to.data)) & (kPieceBytes - 1)) == 0;
}

struct alignas(kPieceBytes) EightNumbers {
  float at[8];
};

// Stores kBiasPart elements of a bias gradient that was summed element by element.
template <DType type>
TW_DEVICE void finish_bias(const Backward& p, int64 part) {
  const int64 begin = part * kBiasPart;
  const int64 end = core::smaller(begin + kBiasPart, bias_count(p.out.bias_size));
  if (is_stored_in_pieces<type>(p)) {
    for (int64 n = begin + thread_index() * 8; n < end; n += kRowThreads * 8) {
      const EightNumbers numbers = *reinterpret_cast<const EightNumbers*>(p.workspace.bias + n);
      *reinterpret_cast<EightElements*>(p.out.bias.data + offset_of_bias(p, n) * 2) =
          rounded<type>(numbers.at, 1);
    }
    return;
  }
  for (int64 n = begin + thread_index(); n < end; n += kRowThreads)
    store(p.out.bias, offset_of_bias(p, n), p.workspace.bias[n]);
}

// Adds to `numbers` the sums of eight keys of one query, from key 8 * piece of the tile on.
TW_DEVICE void add_bias_sums(const float* sums, const BackwardShape& tiles, int32 row, int32 piece,
                             float (&numbers)[8]) {
  const SumOrder order{tiles.threads(), adds_four()};
  const int32 of_warp = 8 * tiles.query_pieces, sixteens = tiles.keys / (16 * tiles.key_warps);
  const int32 sixteen = piece / 2;
  const int32 warp = sixteen / sixteens * tiles.query_warps + row / of_warp;
  const int32 number = sixteen % sixteens * tiles.query_pieces + row % of_warp / 8;
  const int32 i = piece % 2 * 2 + row % 2;
  TW_UNROLL
  for (int32 n = 0; n < 8; ++n)
    numbers[n] += sums[order.place(number, warp * kWarp + n * 4 + row % 8 / 2, i)];
}

// Where a tile of the bias's gradient is stored in pieces.
struct GradientTile {
  uint8* first;
  int64 row;  // stride in bytes
  int32 rows, keys;
};

// Rounds and stores the sums of warp `warp` of the tiles kernel for a tile of the bias's gradient.
// Two adjacent sums belong to two queries of one key, but a stored piece is eight keys of one
// query. So 8 x 8 blocks are first transposed in registers.
template <DType type>
TW_DEVICE void finish_bias_part(const BackwardShape& tiles, const GradientTile& to,
                                const float* sums, int32 warp) {
  const SumsOfThread from{sums,
                          {tiles.threads(), adds_four()},
                          warp * kWarp + lane_index(),
                          tiles.keys / (16 * tiles.key_warps),
                          tiles.query_pieces};
  const int32 first_key = warp / tiles.query_warps * from.down * 16;
  const int32 first_row = warp % tiles.query_warps * from.across * 8;
  from.for_each_two([&](const FourNumbers(&two)[2], int32 m, int32 n) {
    const PairOfPieces by_key = round_pair<type>(two, 1);
    PairOfPieces by_query;
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i)
      by_query.words[i / 2][i % 2] = transposed(by_key.words[i % 2][i / 2]);
    const EightElements whole = by_query.piece_of_lane();
    const int32 lane = lane_index(), row = first_row + 8 * n + lane / 4 + lane % 2 * 8;
    const int32 key = first_key + 16 * m + lane % 4 / 2 * 8;
    if (row < to.rows && key < to.keys)
      *reinterpret_cast<EightElements*>(to.first + row * to.row + key * 2) = whole;
  });
}

// Stores a tile of the bias's gradient that featured kernels summed.
template <DType type>
TW_DEVICE void finish_bias_tile(const Backward& p, int64 task) {
  const BackwardShape& shape = p.plan.tiles;
  const Axes& size = p.out.bias_size;
  const BiasTile tile = bias_tile_at(p, task);
  const int64 down = tile.down, across = tile.across;
  const auto heads = static_cast<uint32>(size.head);
  const float* sums = p.workspace.bias + task * (shape.queries * shape.keys);
  const int32 pieces = shape.keys / 8;
  const auto rows =
      static_cast<int32>(core::smaller(size.row - down * shape.queries, int64{shape.queries}));
  const auto keys =
      static_cast<int32>(core::smaller(size.column - across * shape.keys, int64{shape.keys}));
  const bool in_pieces = is_stored_in_pieces<type>(p), has_sums = may_be_visible(p, tile);
  if (in_pieces && has_sums && size.row > 1) {
    const Tensor& bias = p.out.bias;
    const int64 first = bias.offset(tile.head / heads, tile.head % heads, down * shape.queries,
                                    across * shape.keys);
    const GradientTile to{bias.data + first * 2, bias.stride.row * 2, rows, keys};
    for (int32 warp = warp_index(); warp < shape.warps(); warp += kRowThreads / kWarp)
      finish_bias_part<type>(shape, to, sums, warp);
    return;
  }
  // Without pieces or sums, or for a bias of one row: a thread sums and stores eight keys of a
  // query. Eight threads take adjacent queries, because their sums lie close together.
  TW_ROLLED
  for (int32 x = thread_index(); x < core::round_up(rows, 8) * pieces; x += kRowThreads) {
    const int32 row = x / 8 / pieces * 8 + x % 8, piece = x / 8 % pieces, key = piece * 8;
    if (row >= rows || key >= keys) continue;
    float numbers[8] = {};
    // A bias with a single row gets the sum of all rows of the tile.
    const int32 end = size.row == 1 ? shape.queries : row + 1;
    TW_ROLLED
    for (int32 each = row; has_sums && each < end; ++each)
      add_bias_sums(sums, shape, each, piece, numbers);
    const int64 to = p.out.bias.offset(tile.head / heads, tile.head % heads,
                                       down * shape.queries + row, across * shape.keys + key);
    if (in_pieces) {
      *reinterpret_cast<EightElements*>(p.out.bias.data + to * 2) = rounded<type>(numbers, 1);
      continue;
    }
    for (int32 n = 0; n < 8 && key + n < keys; ++n)
      store(p.out.bias, to + n * p.out.bias.stride.column, numbers[n]);
  }
}

// The thread's part of the sum of `count` numbers, in an order that never changes.
TW_DEVICE float sum_of_partials(const float* first, int64 count) {
  float sum = 0;
  for (int64 n = thread_index(); n < count; n += kRowThreads) sum += first[n];
  return sum;
}

// Stores the gradient of a head's slope (of one sequence, or of all) or of its sink.
TW_DEVICE void finish_head(const Backward& p, BackwardRowsMemory& memory, int64 task) {
  const BackwardShape& tiles = p.plan.tiles;
  const int64 heads = p.shape.heads, h = task % heads, of = task / heads;
  const int64 slopes = p.out.slopes ? p.out.slopes_batch : 0;
  const bool is_slope = of < slopes;
  const int64 count = is_slope ? key_tiles(p.shape, tiles) * tiles.warps() : sink_partials(p);
  const float* partials = is_slope ? p.workspace.slopes : p.workspace.sinks;
  const bool of_one = is_slope && slopes > 1;
  const int64 first = of_one ? of : 0, end = of_one ? of + 1 : p.shape.batch;
  float sum = 0;
  for (int64 b = first; b < end; ++b)
    sum += sum_of_partials(partials + (b * heads + h) * count, count);
  const float total = sum_of_block(sum, memory.warp_sums);
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
      return p.workspace.bias_in_tiles ? finish_bias_tile<type>(p, rest)
                                       : finish_bias<type>(p, rest);
    finish_head(p, memory, rest - tasks.bias);
  });
}

}  // namespace tilewise::cuda::sm80
