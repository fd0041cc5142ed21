// Attention backward by tensor cores. A block has a tile of keys of one head, and meets every tile of
// queries that sees some of them, of all query heads that share the key head. Scores are transposed:
// a row of every fragment is a key.
//
//   shared memory   key, value      query, arriving gradient, lse and delta of a tile of queries;
//                     |             the next one on its way (cp.async)
//   a warp          score = key . query,  at_weight = value . incoming - delta      its keys x queries
//                   weigh: weights = 2^(score - lse),  at_score = weights * at_weight
//                     |  at_score and weights, rounded, to shared memory
//                   ---- barrier ----
//   a warp          of_value += weights . incoming,  of_key += at_score . query     its keys,
//                     registers to the end; a share of the columns
//   a warp          of_query = at_score (transposed) . key     a share of the tile's rows and
//                     columns, added to the workspace
//
// `rows` made lse, delta and a cleared workspace before; `finish` rounds what was added there. Where
// results have to be the same every time, blocks add to a tile of queries in the order of their
// keys: each counts the tile up behind its additions, and waits for its own number.
#pragma once

#include "backends/cuda/kernels/sm80/backward_sums.h"
#include "backends/cuda/kernels/sm80/backward_weights.h"

namespace tilewise::cuda::sm80 {

// From where a lane reads fragments. Tiles of kDim columns lie alike, and so do both squares.
template <class Traits>
struct LanePlaces {
  using KeyTile = typename Traits::KeyTile;
  using Square = typename Traits::Square;
  SharedAddress down, across;    // of the first tile of keys
  SharedAddress down_from_keys;  // the warp's own
  SharedAddress square_down;     // from the warp's keys on
  SharedAddress square_across;   // from the queries on that the warp has of the query's gradient

  TW_DEVICE explicit LanePlaces(typename Traits::Memory& memory) {
    constexpr BackwardShape kTiles = Traits::kTiles;
    const SharedAddress begin = shared_address(&memory);
    const int32 lane = lane_index(), warp = warp_index();
    const int32 first_key = warp / kTiles.query_warps * Traits::kKeysOfWarp;
    down = KeyTile::down(begin, lane);
    across = KeyTile::across(begin, lane);
    down_from_keys = down + first_key * KeyTile::kRowBytes;
    square_down = Square::down(begin + Traits::kGradientAt, lane) + first_key * Square::kRowBytes;
    square_across = Square::moved(Square::across(begin + Traits::kGradientAt, lane), 0,
                                  warp / kTiles.warps_across() * kTiles.gradient_down());
  }
};

template <class Traits>
TW_DEVICE const uint8* first_row(const KeyBlock& block, const Matrix& of, int32 g, int32 row) {
  return of.rows.at(block.queries.batch, block.head(g), block.queries.first + row);
}

template <class Traits>
TW_DEVICE void load_keys(const Backward& p, typename Traits::Memory& memory) {
  using Fill = Filling<typename Traits::KeyTile, Traits::kThreads, Traits::kTiles.is_general>;
  const KeyBlock& block = memory.block;
  const int64 first = block.keys.first + block.columns.begin;
  const auto rows = static_cast<int32>(block.columns.size());
  Fill::fill(memory.key, p.in.key, p.in.key.rows.at(block.keys.batch, block.key_head, first), rows);
  Fill::fill(memory.value, p.in.value, p.in.value.rows.at(block.keys.batch, block.key_head, first),
             rows);
}

// Queries of a turn, and what `rows` knows of them.
template <class Traits>
TW_DEVICE void load_queries(const Backward& p, typename Traits::Memory& memory, Turn turn,
                            int32 stage) {
  constexpr int32 kQueries = Traits::kTiles.queries;
  using Fill = Filling<typename Traits::QueryTile, Traits::kThreads, Traits::kTiles.is_general>;
  const KeyBlock& block = memory.block;
  const int32 row = turn.tile(block) * kQueries;
  const auto left = static_cast<int32>(block.queries.length) - row;
  Fill::fill(memory.query[stage], p.in.query, first_row<Traits>(block, p.in.query, turn.g, row),
             left);
  constexpr int32 kPieces = kQueries / 4;
  const int32 thread = thread_index();
  if (thread >= 2 * kPieces) return;
  const float* of = thread < kPieces ? p.between.lse : p.between.minus_delta;
  const int64 at = block.padded(p.between, block.head(turn.g), row) + thread % kPieces * 4;
  copy_later(shared_address(&memory.rows[stage]) + thread * kPieceBytes,
             reinterpret_cast<const uint8*>(of + at));
}

template <class Traits>
TW_DEVICE void load_incoming(const Backward& p, typename Traits::Memory& memory, Turn turn,
                             int32 stage) {
  using Fill = Filling<typename Traits::QueryTile, Traits::kThreads, Traits::kTiles.is_general>;
  const KeyBlock& block = memory.block;
  const int32 row = turn.tile(block) * Traits::kTiles.queries;
  Fill::fill(memory.incoming[stage], p.in.incoming,
             first_row<Traits>(block, p.in.incoming, turn.g, row),
             static_cast<int32>(block.queries.length) - row);
}

// What a block works with in one turn.
template <class Traits>
struct TurnPlaces {
  Turn turn;
  int32 stage;
  SharedAddress query_down, query_across;  // from where the lane reads the turn's queries
  SharedAddress incoming_down, incoming_across;

  TW_DEVICE TurnPlaces(const LanePlaces<Traits>& lane, Turn given, int32 given_stage)
      : turn(given), stage(given_stage) {
    constexpr int32 kBytes = Traits::QueryTile::kBytes;
    const int32 query = Traits::kQueryAt + stage * kBytes;
    const int32 incoming =
        Traits::kIncomingAt + (Traits::kTiles.incoming_stages == 2 ? stage * kBytes : 0);
    query_down = lane.down + query;
    query_across = lane.across + query;
    incoming_down = lane.down + incoming;
    incoming_across = lane.across + incoming;
  }
};

// sums += rows of keys or values, from `left` on, times rows of queries or gradients, `row` and on.
template <class Traits>
TW_DEVICE void add_scores(SharedAddress left, SharedAddress right, int32 row,
                          typename Traits::Scores& sums) {
  Traits::ScoreProduct::add(
      sums,
      [&](int32 m, int32 k) { return load_matrices(Traits::KeyTile::moved(left, m * 16, k)); },
      [&](int32 n, int32 k) {
        return load_matrices(
            Traits::QueryTile::moved(right + row * Traits::QueryTile::kRowBytes, n * 16, k));
      });
}

// The weights of a patch, and the gradients of its scores.
template <class Traits>
TW_DEVICE void differentiate(const Backward& p, typename Traits::Memory& memory,
                             const LanePlaces<Traits>& lane, const TurnPlaces<Traits>& now,
                             const Patch& patch, typename Traits::Pairs& weights,
                             typename Traits::Pairs& at_scores) {
  typename Traits::Scores scores, at_weights;
  scores.clear();
  add_scores<Traits>(lane.down_from_keys, now.query_across, patch.row, scores);
  if (patch.cover == Cover::kSome) score::hide_band(memory.block.band, patch.corner(), scores);
  const int32 row = patch.row + 2 * (lane_index() & 3);
  const auto& rows = memory.rows[now.stage];
  weigh(rows.lse + row, p.scale.factor, scores);
  round_pairs<Traits>(scores, weights);
  begin_with(rows.minus_delta + row, at_weights);
  add_scores<Traits>(lane.down_from_keys + Traits::kValueAt, now.incoming_across, patch.row,
                     at_weights);
  multiply_each(scores, at_weights);
  round_pairs<Traits>(scores, at_scores);
}

// A patch goes to shared memory for all warps.
template <class Traits>
TW_DEVICE void share(typename Traits::Memory& memory, int32 first_row,
                     const typename Traits::Pairs& weights,
                     const typename Traits::Pairs& at_scores) {
  using Square = typename Traits::Square;
  const int32 lane = lane_index();
  const int32 key = warp_index() / Traits::kTiles.query_warps * Traits::kKeysOfWarp + lane / 4;
  TW_UNROLL
  for (int32 m = 0; m < Traits::kDown; ++m) {
    TW_UNROLL
    for (int32 n = 0; n < Traits::kAcross; ++n) {
      TW_UNROLL
      for (int32 half = 0; half < 2; ++half) {
        const int32 place =
            Square::place(key + m * 16 + half * 8, first_row / 8 + n) + lane % 4 * 4;
        *reinterpret_cast<uint32*>(memory.squares[0].bytes + place) = at_scores.at[m][n][half];
        if constexpr (Traits::kShares)
          *reinterpret_cast<uint32*>(memory.squares[1].bytes + place) = weights.at[m][n][half];
      }
    }
  }
}

// What a block sums up of its keys.
template <class Traits>
struct KeyGradients {
  typename Traits::KeySums of_key, of_value;
};

// A lane's place where it reads `count` times 16 columns, the first of them `part` * count. Where the
// count is a power of two, the rest of the way is known at compile time.
template <class Tile, int32 count>
struct ColumnsOfPart {
  static constexpr bool kIsKnown = (count & (count - 1)) == 0;
  SharedAddress lane;
  int32 first;

  TW_DEVICE ColumnsOfPart(SharedAddress down, int32 part)
      : lane(kIsKnown ? Tile::moved(down, 0, part * count) : down),
        first(kIsKnown ? 0 : part * count) {}

  TW_DEVICE Fragment read(int32 row, int32 n) const {
    return load_matrices_transposed(Tile::moved(lane, row, first + n));
  }
};

// sums += left . columns of queries or gradients. `left(m, k)` is a fragment, k times 16 queries on
// from row `row`.
template <class Traits, class Left>
TW_DEVICE void add_columns(typename Traits::KeySums& sums, const Left& left, SharedAddress down,
                           int32 row) {
  using QueryTile = typename Traits::QueryTile;
  const int32 part = Traits::kShares ? warp_index() % Traits::kTiles.query_warps : 0;
  const ColumnsOfPart<QueryTile, Traits::KeySums::kAcross / 2> columns(
      down + row * QueryTile::kRowBytes, part);
  Traits::KeyProduct::add(sums, left,
                          [&](int32 n, int32 k) { return columns.read(k * 16, n); });
}

// Scores of one turn: weights and gradients of scores. Where they are left operands as they lie, also
// what follows from them for the keys.
template <class Traits>
TW_DEVICE void do_scores(const Backward& p, typename Traits::Memory& memory,
                         const LanePlaces<Traits>& lane, const TurnPlaces<Traits>& now,
                         KeyGradients<Traits>& sums) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  const int32 warp = warp_index();
  const QueryReach reach = memory.reach[warp];
  TW_ROLLED
  for (int32 time = 0; time < Traits::kTimes; ++time) {
    const int32 row = (warp % kTiles.query_warps + time) * Traits::kQueriesAtOnce;
    const int32 query = now.turn.tile(block) * kTiles.queries + row;
    const auto length = static_cast<int32>(block.queries.length);
    const Patch patch{query,
                      block.tile * kTiles.keys + warp / kTiles.query_warps * Traits::kKeysOfWarp,
                      row, reach.cover(query, Traits::kQueriesAtOnce, length)};
    typename Traits::Pairs weights{}, at_scores{};
    if (patch.cover != Cover::kNone)
      differentiate<Traits>(p, memory, lane, now, patch, weights, at_scores);
    share<Traits>(memory, row, weights, at_scores);
    if constexpr (!Traits::kShares) {
      if (patch.cover == Cover::kNone) continue;
      add_columns<Traits>(
          sums.of_value, [&](int32 m, int32 k) { return weights.operand(m, k); },
          now.incoming_down, row);
      add_columns<Traits>(
          sums.of_key, [&](int32 m, int32 k) { return at_scores.operand(m, k); }, now.query_down,
          row);
    }
  }
}

// Of a square in shared memory, as left operand of the warp's keys.
template <class Traits>
TW_DEVICE auto rows_of_square(SharedAddress down) {
  return
      [down](int32 m, int32 k) { return load_matrices(Traits::Square::moved(down, m * 16, k)); };
}

template <class Traits>
TW_DEVICE void do_query_gradient(const Backward& p, typename Traits::Memory& memory,
                                 const LanePlaces<Traits>& lane, Turn turn) {
  using QuerySums = typename Traits::QuerySums;
  constexpr BackwardShape kTiles = Traits::kTiles;
  if (!p.between.query) return;
  QuerySums sums;
  sums.clear();
  const ColumnsOfPart<typename Traits::KeyTile, QuerySums::kAcross / 2> columns(
      lane.down, warp_index() % kTiles.warps_across());
  Traits::QueryProduct::add(
      sums,
      [&](int32 m, int32 k) {
        return load_matrices_transposed(Traits::Square::moved(lane.square_across, k * 16, m));
      },
      [&](int32 n, int32 k) { return columns.read(k * 16, n); });
  const KeyBlock& block = memory.block;
  const int64 row =
      block.padded(p.between, block.head(turn.g), turn.tile(block) * kTiles.queries);
  add_query_gradient<Traits>(p.between.query + row * Traits::kDim, sums);
}

// Thread 0 speaks for the block: barriers order what the other threads add.
struct Handing {
  int32* added = nullptr;  // the counter of the tile that was added to last

  TW_DEVICE void pass_on() {
    if (added && thread_index() == 0) count_up(added);
    added = nullptr;
  }
  TW_DEVICE void wait_for(const InOrder& order) {
    if (thread_index() == 0) wait_for_count(order.count, order.before);
    added = order.count;
  }
};

template <class Traits>
TW_DEVICE void do_turn(const Backward& p, typename Traits::Memory& memory,
                       const LanePlaces<Traits>& lane, const TurnPlaces<Traits>& now, Turn next,
                       KeyGradients<Traits>& sums, Handing& handing) {
  const KeyBlock& block = memory.block;
  do_scores<Traits>(p, memory, lane, now, sums);
  if (block.goes_back) handing.wait_for(order_of<Traits>(p, block, now.turn));
  block_barrier();
  if constexpr (Traits::kShares)
    add_columns<Traits>(
        sums.of_value,
        rows_of_square<Traits>(lane.square_down + (Traits::kWeightsAt - Traits::kGradientAt)),
        now.incoming_down, 0);
  if constexpr (Traits::kTiles.incoming_stages == 1) {
    block_barrier();
    if (next.exists(block)) load_incoming<Traits>(p, memory, next, 0);
  }
  do_query_gradient<Traits>(p, memory, lane, now.turn);
  if constexpr (Traits::kShares)
    add_columns<Traits>(sums.of_key, rows_of_square<Traits>(lane.square_down), now.query_down, 0);
}

template <class Traits>
TW_DEVICE void backward(const Backward& p) {
  auto& memory = shared_memory<typename Traits::Memory, Traits::kMostShared>();
  constexpr bool kTwo = Traits::kTiles.incoming_stages == 2;
  const KeyBlock& block = memory.block;
  enter<Traits>(p, memory);
  if (block.columns.empty()) return;
  load_keys<Traits>(p, memory);
  Turn turn = first_turn<Traits>(p, block);
  if (turn.exists(block)) {
    load_queries<Traits>(p, memory, turn, 0);
    load_incoming<Traits>(p, memory, turn, 0);
  }
  const LanePlaces<Traits> lane(memory);
  KeyGradients<Traits> sums;
  sums.of_key.clear();
  sums.of_value.clear();
  Handing handing;
  TW_ROLLED
  for (int32 stage = 0; turn.exists(block); stage ^= 1) {
    const Turn next = after<Traits>(p, block, turn);
    commit_copies();
    wait_for_copies<0>();
    block_barrier();
    handing.pass_on();
    if (next.exists(block)) {
      load_queries<Traits>(p, memory, next, stage ^ 1);
      if (kTwo) load_incoming<Traits>(p, memory, next, stage ^ 1);
    }
    do_turn<Traits>(p, memory, lane, {lane, turn, stage}, next, sums, handing);
    turn = next;
  }
  commit_copies();
  wait_for_copies<0>();
  block_barrier();
  handing.pass_on();
  store_key_gradients<Traits>(p, memory, sums.of_key, sums.of_value);
}

}  // namespace tilewise::cuda::sm80
