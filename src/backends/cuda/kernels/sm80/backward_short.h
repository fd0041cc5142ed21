// Backward of short sequences: a block has all keys of one of them and of one head, and no other
// block adds to the gradient of its queries. So it works out lse and delta by itself, and writes
// all three gradients at once. Tiles are as small as the sequences, and while one block waits for
// its queries, the others of the multiprocessor have products to make; where there is room for one
// block alone, the next queries are on their way meanwhile. The steps are those of backward.h.
//
// Twice as many keys as a tile has come one tile after the other. What the first says of the
// queries' gradient waits in the workspace, where nobody else looks.
#pragma once

#include "backends/cuda/kernels/sm80/backward.h"
#include "backends/cuda/kernels/sm80/backward_rows.h"

namespace tilewise::cuda::sm80 {

// By all threads; ends with a barrier. Every tile of queries comes, whether it sees a key or not:
// nobody else writes its gradient.
template <class Traits>
TW_DEVICE void enter_short(const Backward& p, typename Traits::Memory& memory) {
  KeyBlock& block = memory.block;
  if (thread_index() == 0) {
    find_block<Traits>(p, block);
    block.first_tile = block.turned = 0;
    block.tiles =
        static_cast<int32>(core::ceil_div(block.queries.length, int64{Traits::kTiles.queries}));
    for (auto& rows : memory.rows) rows.tile.has_apart = 0;
  }
  block_barrier();
}

// Asks for tile `tile` of the keys. By all threads, when nobody reads the one before any more.
template <class Traits>
TW_DEVICE void begin_keys(const Backward& p, typename Traits::Memory& memory, int32 tile) {
  KeyBlock& block = memory.block;
  if (tile > 0) {
    block_barrier();
    if (thread_index() == 0) {
      block.tile = tile;
      const bool exists = block.keys.batch >= 0;
      block.columns = exists ? tile_range(tile, Traits::kTiles.keys, block.keys.length) : Range{};
    }
    block_barrier();
  }
  const int32 thread = thread_index_anew(), warp = thread / kWarp;
  if (thread % kWarp == 0)
    memory.reach[warp] = reach_of<Traits>(block, warp / Traits::kTiles.query_warps);
  load_keys<Traits>(p, memory);
  commit_copies();
}

// Whether no keys come behind those that are there.
template <class Traits>
TW_DEVICE bool has_last_keys(const KeyBlock& block) {
  if constexpr (!Traits::kTiles.takes_twice()) return true;
  return block.tile > 0 || block.keys.length <= Traits::kTiles.keys;
}

TW_DEVICE Turn first_short_turn(const KeyBlock& block) {
  return {block.tiles > 0 ? 0 : block.heads, 0};
}

TW_DEVICE Turn short_turn_after(const KeyBlock& block, Turn turn) {
  return turn.n + 1 < block.tiles ? Turn{turn.g, turn.n + 1} : Turn{turn.g + 1, 0};
}

template <class Traits>
TW_DEVICE void ask_for_queries(const Backward& p, typename Traits::Memory& memory, Turn turn,
                               int32 stage) {
  const KeyBlock& block = memory.block;
  const Place& queries = block.queries;
  const int32 h = block.head(turn.g), query = turn.n * Traits::kTiles.queries;
  const auto rows = static_cast<int32>(queries.length) - query;
  const int64 first = queries.first + query;
  load_tile<Traits>(memory.query[stage], p.in.query, p.in.query.at(queries.batch, h, first), rows);
  load_tile<Traits>(memory.incoming[stage], p.in.incoming,
                    p.in.incoming.at(queries.batch, h, first), rows);
  commit_copies();
}

// What a thread brings for the rows of a tile of queries: pieces of the output, which lie where its
// pieces of the arriving gradient do, and the lse of one row.
template <class Traits>
struct RowsAhead {
  using Load = Loader<typename Traits::QueryTile, Traits::kThreads>;
  static constexpr int32 kPieces = Traits::QueryTile::kPieces, kApart = Load::kApart;
  static constexpr int32 kCount = Traits::kTiles.queries / kApart;
  static_assert(kApart * kPieces == Traits::kThreads && kPieces <= kWarp);
  static_assert(Traits::kTiles.queries <= Traits::kThreads);
  EightElements output[kCount];
  float lse;
};

template <class Traits>
TW_DEVICE void bring_rows(const Backward& p, const KeyBlock& block, Turn turn,
                          RowsAhead<Traits>& ahead) {
  using Ahead = RowsAhead<Traits>;
  const Place& queries = block.queries;
  const int32 h = block.head(turn.g), query = turn.n * Traits::kTiles.queries;
  const auto rows = static_cast<int32>(queries.length) - query;
  const int32 thread = thread_index_anew();
  const auto share = Ahead::Load::share_of(thread);
  const uint8* output = p.in.output.at(queries.batch, h, queries.first + query);
  TW_UNROLL
  for (int32 n = 0; n < Ahead::kCount; ++n) {
    const int32 row = share.row + n * Ahead::kApart;
    ahead.output[n] = {};
    if (row < rows)
      ahead.output[n] = piece_at(p.in.output, output + row * p.in.output.row, share.piece);
  }
  const bool has_row = thread < core::smaller(rows, Traits::kTiles.queries);
  ahead.lse = has_row ? lse_of(p, queries, h, query + thread) : 0.0f;
}

// Of a turn that comes later, when there are registers to bring them.
template <class Traits>
TW_DEVICE void read_output_soon(const Backward& p, const KeyBlock& block, Turn turn) {
  const Place& queries = block.queries;
  const int32 query = turn.n * Traits::kTiles.queries, i = thread_index_anew();
  if (i >= Traits::kTiles.queries || query + i >= static_cast<int32>(queries.length)) return;
  const uint8* row = p.in.output.at(queries.batch, block.head(turn.g), queries.first + query + i);
  for (int32 n = 0; n < p.in.output.bytes; n += 128) read_soon(row + n);
}

// The products of the output with what arrives at it, once the thread's own pieces have come.
template <class Traits>
TW_DEVICE void sum_rows(typename Traits::Memory& memory, int32 stage,
                        const RowsAhead<Traits>& ahead) {
  using Ahead = RowsAhead<Traits>;
  const auto share = Ahead::Load::share_of(thread_index_anew());
  TW_UNROLL
  for (int32 n = 0; n < Ahead::kCount; ++n) {
    const int32 row = share.row + n * Ahead::kApart;
    const uint8* piece = memory.incoming[stage].bytes + Traits::QueryTile::place(row, share.piece);
    float sum =
        -dot<Traits::kType>(ahead.output[n], *reinterpret_cast<const EightElements*>(piece));
    TW_UNROLL
    for (int32 bits = Ahead::kPieces / 2; bits > 0; bits /= 2) sum += shuffle(sum, bits);
    if (share.piece == 0) memory.rows[stage].minus_delta[row] = sum;
  }
}

// Behind a barrier: what `rows` says of rows elsewhere, a thread for each.
template <class Traits>
TW_DEVICE void know_short_rows(const Backward& p, typename Traits::Memory& memory, Turn turn,
                               int32 stage, const RowsAhead<Traits>& ahead) {
  const KeyBlock& block = memory.block;
  const int32 i = thread_index_anew(), row = turn.n * Traits::kTiles.queries + i;
  if (i >= Traits::kTiles.queries) return;
  const int32 h = block.head(turn.g);
  auto& rows = memory.rows[stage];
  KnownRow known{core::infinity<float>(), 0, 0};
  if (row < block.queries.length)
    known = know_row(p, h, ahead.lse, with_lse(p, rows.minus_delta[i], block.queries, h, row));
  const bool is_one = is_apart(known.lse);
  const HeldRow place{block.b, h, row, block.queries, block.keys};
  rows.lse[i] =
      is_one ? lse_of_apart<Traits::kType, Traits::kFeatures>(p, place, known.lse) : known.lse;
  rows.minus_delta[i] = known.minus_delta;
  if (is_one) rows.tile.has_apart = 1;
  auto& of_short = memory.of_short.at[0];
  of_short.apart[i] = is_one ? known.lse : 0.0f;
  if (p.between.sinks)
    of_short.of_sink[i] = known.of_sink + (turn.n > 0 ? of_short.of_sink[i] : 0.0f);
}

// Calls body(four, numbers) for the thread's pieces of a tile's gradient, and where they wait in
// the workspace for the next tile of keys.
template <class Traits, class Body>
TW_DEVICE void for_each_waiting(const Backward& p, const KeyBlock& block, Turn turn,
                                typename Traits::QuerySums& sums, const Body& body) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const int64 head = int64{block.b} * p.shape.heads + block.head(turn.g);
  const int64 tile = head * query_tiles(p.shape, kTiles) + turn.n;
  auto* first =
      reinterpret_cast<FourNumbers*>(p.between.query + tile * kTiles.queries * kTiles.dim) +
      thread_index_anew();
  sums.each_piece([&](float(&four)[4], int32 m, int32 n) {
    body(four, first[(m * Traits::QuerySums::kAcross + n) * Traits::kThreads]);
  });
}

// Rounds the sums of a warp's queries, times a factor, into a tile.
template <class Traits>
TW_DEVICE void round_queries(typename Traits::QueryTile& tile, typename Traits::QuerySums& sums,
                             float factor) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const int32 thread = thread_index_anew(), warp = thread / kWarp, lane = thread % kWarp;
  const int32 first_row = warp / kTiles.warps_across() * 16 * kTiles.gradient_down() + lane / 4;
  const int32 first_piece = warp % kTiles.warps_across() * Traits::QuerySums::kAcross;
  sums.each_piece([&](float(&four)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 half = 0; half < 2; ++half) {
      const int32 row = first_row + m * 16 + half * 8;
      const int32 place = Traits::QueryTile::place(row, first_piece + n) + lane % 4 * 4;
      *reinterpret_cast<uint32*>(tile.bytes + place) =
          pair_of<Traits::kType>(four[2 * half] * factor, four[2 * half + 1] * factor);
    }
  });
}

// The query's gradient goes where the queries were, which nobody reads any more; or it waits for
// the next keys.
template <class Traits>
TW_DEVICE void make_query_gradient(const Backward& p, typename Traits::Memory& memory, Turn turn,
                                   int32 stage, const LanePlaces<Traits>& lane) {
  using QuerySums = typename Traits::QuerySums;
  constexpr BackwardShape kTiles = Traits::kTiles;
  const SquarePlaces<Traits> squares(memory);
  const int32 warp = thread_index_anew() / kWarp, part = warp % kTiles.warps_across();
  QuerySums sums;
  sums.clear();
  if constexpr (kTiles.takes_twice())
    if (memory.block.tile > 0)
      for_each_waiting<Traits>(p, memory.block, turn, sums,
                               [](float(&four)[4], const FourNumbers& waiting) {
                                 TW_UNROLL
                                 for (int32 i = 0; i < 4; ++i) four[i] = waiting.at[i];
                               });
  const ColumnsOfPart<typename Traits::KeyTile, QuerySums::kAcross / 2> columns(lane.down, part);
  Traits::QueryProduct::add(
      sums,
      [&](int32 m, int32 k) {
        return load_matrices_transposed(Traits::Square::moved(squares.across, k * 16, m));
      },
      [&](int32 n, int32 k) { return columns.read(k * 16, n); });
  if constexpr (kTiles.takes_twice())
    if (!has_last_keys<Traits>(memory.block))
      return for_each_waiting<Traits>(p, memory.block, turn, sums,
                                      [](float(&four)[4], FourNumbers& waiting) {
                                        waiting = {{four[0], four[1], four[2], four[3]}};
                                      });
  round_queries<Traits>(memory.query[stage], sums, p.factors.scale);
}

// All products of a tile of queries that has come.
template <class Traits>
TW_DEVICE void make_products(const Backward& p, typename Traits::Memory& memory, Turn turn,
                             int32 stage, KeyGradients<Traits>& sums) {
  const LanePlaces<Traits> lane(memory);
  const int32 query = turn.n * Traits::kTiles.queries;
  const int32 warp = thread_index_anew() / kWarp;
  const int32 row = warp % Traits::kTiles.query_warps * Traits::kQueriesAtOnce;
  const AtHand at_hand{turn, true, query, cover_of<Traits>(memory, query, row)};
  const TurnPlaces<Traits> now(lane, at_hand, stage);
  do_scores<Traits>(p, memory, now, sums);
  block_barrier();
  if (thread_index_anew() == 0) memory.rows[stage].tile.has_apart = 0;
  if constexpr (Traits::kShares) {
    const SquarePlaces<Traits> squares(memory);
    add_columns<Traits>(sums.of_value,
                        rows_of_square<Traits>(squares.down + Traits::Square::kBytes),
                        now.incoming_down, 0);
    add_columns<Traits>(sums.of_key, rows_of_square<Traits>(squares.down), now.query_down, 0);
    block_barrier();
  }
  if (p.out.query.data) make_query_gradient<Traits>(p, memory, turn, stage, lane);
}

template <class Traits>
TW_DEVICE void store_query_gradient(const Backward& p, const typename Traits::Memory& memory,
                                    Turn turn, int32 stage) {
  using QueryTile = typename Traits::QueryTile;
  const KeyBlock& block = memory.block;
  const Place& queries = block.queries;
  const int32 query = turn.n * Traits::kTiles.queries;
  if (!p.out.query.data || !has_last_keys<Traits>(block)) return;
  const Rows& to = p.out.query;
  const int32 left = static_cast<int32>(queries.length) - query;
  const int32 rows = core::smaller(left, QueryTile::kTileRows);
  uint8* first = to.at(queries.batch, block.head(turn.g), queries.first + query);
  TW_ROLLED
  for (int32 n = thread_index_anew(); n < rows * QueryTile::kPieces; n += Traits::kThreads) {
    const int32 row = n / QueryTile::kPieces, piece = n % QueryTile::kPieces;
    put_piece(to, first + row * to.row, piece,
              *reinterpret_cast<const EightElements*>(memory.query[stage].bytes +
                                                      QueryTile::place(row, piece)));
  }
}

// Of query head `g` of the group, all of whose tiles have come.
template <class Traits>
TW_DEVICE void sum_sink_shares(const Backward& p, typename Traits::Memory& memory, int32 g) {
  const KeyBlock& block = memory.block;
  auto& of_short = memory.of_short.at[0];
  const int32 i = thread_index_anew();
  const bool has_row = block.tiles > 0 && i < Traits::kTiles.queries;
  const float share = sum_of_block(has_row ? of_short.of_sink[i] : 0.0f, of_short.between);
  if (i == 0) p.between.sinks[int64{block.b} * p.shape.heads + block.head(g)] = share;
}

// The block's keys in shared memory, and every tile of queries.
template <class Traits>
TW_DEVICE void do_short_keys(const Backward& p, typename Traits::Memory& memory) {
  constexpr bool kAhead = Traits::kQueryStages == 2;
  const KeyBlock& block = memory.block;
  Turn turn = first_short_turn(block);
  if (kAhead && turn.exists(block)) ask_for_queries<Traits>(p, memory, turn, 0);
  KeyGradients<Traits> sums;
  sums.of_key.clear();
  sums.of_value.clear();
  TW_ROLLED
  for (int32 stage = 0; turn.exists(block); stage = kAhead ? stage ^ 1 : 0) {
    if constexpr (!kAhead) {
      if (turn.g + turn.n > 0) block_barrier();
      ask_for_queries<Traits>(p, memory, turn, stage);
    }
    RowsAhead<Traits> ahead;
    bring_rows<Traits>(p, block, turn, ahead);
    wait_for_copies<0>();
    sum_rows<Traits>(memory, stage, ahead);
    block_barrier();
    know_short_rows<Traits>(p, memory, turn, stage, ahead);
    const Turn next = short_turn_after(block, turn);
    if (kAhead && next.exists(block)) {
      ask_for_queries<Traits>(p, memory, next, stage ^ 1);
      read_output_soon<Traits>(p, block, next);
    }
    block_barrier();
    make_products<Traits>(p, memory, turn, stage, sums);
    block_barrier();
    store_query_gradient<Traits>(p, memory, turn, stage);
    if (p.between.sinks && block.tile == 0 && next.g != turn.g)
      sum_sink_shares<Traits>(p, memory, turn.g);
    turn = next;
  }
  wait_for_copies<0>();
  block_barrier();
  store_key_gradients<Traits>(p, memory, sums.of_key, sums.of_value);
}

template <class Traits>
TW_DEVICE void backward_short(const Backward& p) {
  auto& memory = shared_memory<typename Traits::Memory, Traits::kMostShared>();
  enter_short<Traits>(p, memory);
  const KeyBlock& block = memory.block;
  if (p.between.sinks && block.tiles == 0)
    for (int32 g = 0; g < block.heads; ++g) sum_sink_shares<Traits>(p, memory, g);
  TW_ROLLED
  for (int32 tile = 0; true; ++tile) {
    begin_keys<Traits>(p, memory, tile);
    do_short_keys<Traits>(p, memory);
    if (has_last_keys<Traits>(block)) return;
  }
}

}  // namespace tilewise::cuda::sm80
