// Attention backward by tensor cores. A block has a tile of keys of one head, and meets every tile
// of queries that sees some of them, of all query heads that share the key head. Scores are
// transposed: a row of every fragment is a key.
//
//   shared memory   key, value      query, arriving gradient, lse and delta of a tile of queries;
//                     |             the next one on its way (cp.async)
//   a warp          score = key . query,  at_weight = value . incoming - delta      its keys x
//   queries
//                   weigh: weights = 2^(score - lse),  at_score = weights * at_weight
//                     |  at_score and weights, rounded, to shared memory
//                   ---- barrier ----
//   a warp          of_value += weights . incoming,  of_key += at_score . query     its keys,
//                     registers to the end; a share of the columns
//   a warp          of_query = at_score (transposed) . key     a share of the tile's rows and
//                     columns, added to the workspace
//
// `rows` made lse, delta and a cleared workspace before; `finish` rounds what was added there.
// Where results have to be the same every time, blocks add to a tile of queries in the order of
// their keys: each counts the tile up behind its additions, and waits for its own number.
#pragma once

#include "backends/cuda/kernels/sm80/backward_scores.h"
#include "backends/cuda/kernels/sm80/backward_sums.h"

namespace tilewise::cuda::sm80 {

template <class Traits>
TW_DEVICE void load_keys(const Backward& p, typename Traits::Memory& memory) {
  const KeyBlock& block = memory.block;
  const int64 first = block.keys.first + block.columns.begin;
  const auto rows = static_cast<int32>(block.columns.size());
  load_tile<Traits>(memory.key, p.in.key, p.in.key.at(block.keys.batch, block.key_head, first),
                    rows);
  load_tile<Traits>(memory.value, p.in.value,
                    p.in.value.at(block.keys.batch, block.key_head, first), rows);
}

// What a block sums up of its keys.
template <class Traits>
struct KeyGradients {
  typename Traits::KeySums of_key, of_value;
};

// A lane's place where it reads `count` times 16 columns, the first of them `part` * count. Where
// the count is a power of two, the rest of the way is known at compile time.
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
  Traits::KeyProduct::add(sums, left, [&](int32 n, int32 k) { return columns.read(k * 16, n); });
}

// Scores of one turn: weights and gradients of scores. Where they are left operands as they lie,
// also what follows from them for the keys.
template <class Traits>
TW_DEVICE void do_scores(const Backward& p, typename Traits::Memory& memory,
                         const TurnPlaces<Traits>& now, KeyGradients<Traits>& sums) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  const int32 warp = warp_index();
  TW_ROLLED
  for (int32 time = 0; time < Traits::kTimes; ++time) {
    const int32 row = (warp % kTiles.query_warps + time) * Traits::kQueriesAtOnce;
    const int32 query = now.query(p, block);
    Cover cover = now.cover(memory, query, row);
    uint32 visible = 0;
    if constexpr (Traits::kIsFeatured && Traits::kBringsMask) {
      if (score::asks<Traits::kFeatures>(p.scoring, score::kVisible)) {
        visible = take_visible<Traits>(p.scoring, memory, now.stage);
        if (!warp_any(visible != 0)) cover = Cover::kNone;
      }
    }
    if (cover == Cover::kNone) {
      share_nothing<Traits>(memory, row);
      continue;
    }
    const Patch patch{query + row,
                      block.tile * kTiles.keys + warp / kTiles.query_warps * Traits::kKeysOfWarp,
                      row, cover, visible};
    PatchPairs<Traits> pairs;
    differentiate<Traits>(p, memory, now, patch, pairs);
    share_weights<Traits, false>(memory, row, pairs.weights);
    share<Traits>(memory.squares[0], row, pairs.at_scores);
    if constexpr (!Traits::kShares) {
      add_columns<Traits>(
          sums.of_value, [&](int32 m, int32 k) { return pairs.weights.operand(m, k); },
          now.incoming_down, row);
      add_columns<Traits>(
          sums.of_key, [&](int32 m, int32 k) { return pairs.at_scores.operand(m, k); },
          now.query_down, row);
    }
  }
}

// Of a square in shared memory, as left operand of the warp's keys.
template <class Traits>
TW_DEVICE auto rows_of_square(SharedAddress down) {
  return [down](int32 m, int32 k) { return load_matrices(Traits::Square::moved(down, m * 16, k)); };
}

template <class Traits>
TW_DEVICE void do_query_gradient(const Backward& p, const typename Traits::Memory& memory,
                                 const TurnPlaces<Traits>& now,
                                 const SquarePlaces<Traits>& squares) {
  using QuerySums = typename Traits::QuerySums;
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  const int64 row = block.padded(p.between, block.head(now.turn.g), now.query(p, block));
  const int32 first = warp_index() % kTiles.warps_across() * Traits::kQueryParts;
  TW_ROLLED
  for (int32 part = 0; part < Traits::kQueryParts; ++part) {
    QuerySums sums;
    sums.clear();
    const ColumnsOfPart<typename Traits::KeyTile, QuerySums::kAcross / 2> columns(now.lane.down,
                                                                                  first + part);
    Traits::QueryProduct::add(
        sums,
        [&](int32 m, int32 k) {
          return load_matrices_transposed(Traits::Square::moved(squares.across, k * 16, m));
        },
        [&](int32 n, int32 k) { return columns.read(k * 16, n); });
    if (!Traits::kStepsApart || p.between.query)
      add_query_gradient<Traits>(p.between.query + row * Traits::kDim, part, sums);
  }
}

// Thread 0 speaks for the block: barriers order what the other threads add.
TW_DEVICE void wait_for_turn(const InOrder& order, KeyBlock& block) {
  if (thread_index() != 0) return;
  wait_for_count(order.count, order.before);
  block.added_to = order.count;
}

// Behind the barrier that follows a turn.
TW_DEVICE void pass_on(KeyBlock& block) {
  if (thread_index() != 0 || !block.added_to) return;
  count_up(block.added_to);
  block.added_to = nullptr;
}

template <class Traits>
TW_DEVICE Upcoming do_turn(const Backward& p, typename Traits::Memory& memory,
                           const TurnPlaces<Traits>& now, const Coming& next,
                           KeyGradients<Traits>& sums) {
  KeyBlock& block = memory.block;
  do_scores<Traits>(p, memory, now, sums);
  if (p.between.turns) wait_for_turn(order_of<Traits>(p, block, now.turn), block);
  const SquarePlaces<Traits> squares(memory);
  block_barrier();
  if constexpr (Traits::kShares)
    add_columns<Traits>(sums.of_value,
                        rows_of_square<Traits>(squares.down + Traits::Square::kBytes),
                        now.incoming_down, 0);
  if constexpr (Traits::kTiles.incoming_stages == 1) {
    if constexpr (Traits::kShares) block_barrier();
    if (next.exists) load_incoming<Traits>(p, memory, next, 0);
  }
  do_query_gradient<Traits>(p, memory, now, squares);
  const Upcoming then = upcoming<Traits>(p, memory, next.turn);
  if constexpr (Traits::kShares)
    add_columns<Traits>(sums.of_key, rows_of_square<Traits>(squares.down), now.query_down, 0);
  return then;
}

// Which of the two buffers holds the queries of the next turn.
TW_DEVICE int32 next_stage(int32 stage) {
  return stage ^ 1;
}

// Loads the block's keys and the first turn.
template <class Traits>
TW_DEVICE Upcoming begin_turns(const Backward& p, typename Traits::Memory& memory) {
  load_keys<Traits>(p, memory);
  const Turn first = first_turn<Traits>(p, memory);
  Coming next = coming<Traits>(p, memory, first);
  if (next.exists) {
    load_turn<Traits>(p, memory, next, 0);
    if (Traits::kTiles.incoming_stages == 1) load_incoming<Traits>(p, memory, next, 0);
  }
  const AtHand now = at_hand<Traits>(p, memory, first);
  if (Traits::kKnowsPlaces && now.exists)
    next = coming<Traits>(p, memory, after<Traits>(p, memory, first));
  return {now, next};
}

// What was loaded last is there for all, and what was added before for whoever waits for it.
template <class Traits>
TW_DEVICE void await_turn(const Backward& p, typename Traits::Memory& memory) {
  commit_copies();
  wait_for_copies<0>();
  block_barrier();
  if (p.between.turns) pass_on(memory.block);
}

template <class Traits>
TW_DEVICE void backward(const Backward& p) {
  auto& memory = shared_memory<typename Traits::Memory, Traits::kMostShared>();
  enter<Traits>(p, memory);
  if constexpr (Traits::kIsGeneral || Traits::kIsFeatured)
    if (p.between.slopes) clear_slope_shares<Traits>(p, memory.block);
  if (memory.block.columns.empty()) return;
  Upcoming known = begin_turns<Traits>(p, memory);
  const LanePlaces<Traits> lane(memory);
  KeyGradients<Traits> sums;
  sums.of_key.clear();
  sums.of_value.clear();
  TW_ROLLED
  for (int32 stage = 0; known.at_hand.exists; stage = next_stage(stage)) {
    if constexpr (!Traits::kKnowsPlaces)
      known.coming = coming<Traits>(p, memory, after<Traits>(p, memory, known.at_hand.turn));
    await_turn<Traits>(p, memory);
    if constexpr (Traits::kBringsMask && Traits::kMaskStages == 1)
      if ((p.scoring.asked & score::kVisible) != 0)
        memory.visible.at[warp_index()].pack(lane_index());
    if (known.coming.exists) load_turn<Traits>(p, memory, known.coming, next_stage(stage));
    known = do_turn<Traits>(p, memory, {lane, known.at_hand, stage}, known.coming, sums);
  }
  await_turn<Traits>(p, memory);
  store_key_gradients<Traits>(p, memory, sums.of_key, sums.of_value);
}

}  // namespace tilewise::cuda::sm80
