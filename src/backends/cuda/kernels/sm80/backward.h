// Attention backward on tensor cores. A block owns one tile of keys of one key head. It visits
// every tile of queries that sees some of its keys, for all query heads that share the key head.
// Scores are transposed: a row of a fragment is a key.
//
//   shared memory   key, value; query, incoming gradient, lse and -delta of a tile of queries.
//                   The next visit's are copied meanwhile (cp.async).
//   each warp       score = key . query and at_weight = value . incoming - delta, for its patch
//                   weights = 2^(score - lse), at_score = weights * at_weight
//                   Both are rounded to the inputs' type and stored in shared memory.
//                   ---- barrier ----
//   each warp       of_value += weights . incoming and of_key += at_score . query,
//                     for its keys and some of the columns; accumulated in registers
//   each warp       of_query = at_score (transposed) . key,
//                     for some of the tile's rows and columns; added to the workspace
//
// Where query_warps is 1, a warp has all queries of its keys: it adds to of_value and of_key before
// the barrier, for all columns, and stores only at_score.
//
// Before this kernel, `rows` (backward_rows.h) converts lse, computes -delta and clears sums in the
// workspace. After it, `finish` (backward_finish.h) stores those sums as gradients. If results must
// be deterministic, the blocks add to a tile of queries in the order of their keys: a counter for
// each tile of queries says whose turn it is.
#pragma once

#include "backends/cuda/kernels/sm80/backward_scores.h"
#include "backends/cuda/kernels/sm80/backward_sums.h"

namespace tilewise::cuda::sm80 {

// Starts the copies of the block's keys and values.
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

// A thread's accumulators for the gradients of the block's keys and values.
template <class Traits>
struct KeyGradients {
  typename Traits::KeySums of_key, of_value;
};

// Where a lane reads `count` groups of 16 columns, from group `part` * count on. If count is a
// power of two, the swizzle of `part` is applied once to the address, and offsets from it are
// constants.
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

// sums += left . right for the warp's columns. The right operand is rows of queries or incoming
// gradients, from row `row` on; `down` is the lane's address in their tile. `left(m, k)` returns
// the fragment that begins at key 16 m and query 16 k.
template <class Traits, class Left>
TW_DEVICE void add_columns(typename Traits::KeySums& sums, const Left& left, SharedAddress down,
                           int32 row) {
  using QueryTile = typename Traits::QueryTile;
  const int32 part = Traits::kExchangesWeights ? warp_index() % Traits::kTiles.query_warps : 0;
  const ColumnsOfPart<QueryTile, Traits::KeySums::kAcross / 2> columns(
      down + row * QueryTile::kRowBytes, part);
  Traits::KeyProduct::add(sums, left, [&](int32 n, int32 k) { return columns.read(k * 16, n); });
}

// Computes the weights and score gradients of one visit. If warps do not exchange weights, also
// adds weights . incoming gradients and score gradients . queries to `sums`.
template <class Traits>
TW_DEVICE void compute_scores(const Backward& p, typename Traits::Memory& memory,
                              const VisitPlaces<Traits>& now, KeyGradients<Traits>& sums) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  const int32 warp = warp_index();
  TW_ROLLED
  for (int32 n = 0; n < Traits::kPatchesOfWarp; ++n) {
    const int32 row = (warp % kTiles.query_warps + n) * Traits::kQueriesOfPatch;
    const int32 query = now.query(p, block);
    Cover cover = now.cover(memory, query, row);
    uint32 visible = 0;
    if constexpr (Traits::kIsFeatured && Traits::kLoadsMask) {
      if (score::asks<Traits::kFeatures>(p.scoring, score::kVisible)) {
        visible = visible_bits<Traits>(p.scoring, memory, now.stage);
        if (!warp_any(visible != 0)) cover = Cover::kNone;
      }
    }
    if (cover == Cover::kNone) {
      store_zeros<Traits>(memory, row);
      continue;
    }
    const Patch patch{query + row,
                      block.tile * kTiles.keys + warp / kTiles.query_warps * Traits::kKeysOfWarp,
                      row, cover, visible};
    PatchResult<Traits> pairs;
    differentiate<Traits>(p, memory, now, patch, pairs);
    store_weights<Traits, false>(memory, row, pairs.weights);
    store_tile<Traits>(memory.score_tiles[0], row, pairs.at_scores);
    if constexpr (!Traits::kExchangesWeights) {
      add_columns<Traits>(
          sums.of_value, [&](int32 m, int32 k) { return pairs.weights.operand(m, k); },
          now.incoming_down, row);
      add_columns<Traits>(
          sums.of_key, [&](int32 m, int32 k) { return pairs.at_scores.operand(m, k); },
          now.query_down, row);
    }
  }
}

// Reads left operands from a tile of scores in shared memory, for the warp's keys.
template <class Traits>
TW_DEVICE auto rows_of_score_tile(SharedAddress down) {
  return
      [down](int32 m, int32 k) { return load_matrices(Traits::ScoreTile::moved(down, m * 16, k)); };
}

// Multiplies the tile's score gradients by the keys, and adds the result to the workspace.
template <class Traits>
TW_DEVICE void compute_query_gradient(const Backward& p, const typename Traits::Memory& memory,
                                      const VisitPlaces<Traits>& now,
                                      const ScoreTilePlaces<Traits>& score_tiles) {
  using QuerySums = typename Traits::QuerySums;
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  const int64 row = block.padded(p.workspace, block.head(now.visit.g), now.query(p, block));
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
          return load_matrices_transposed(Traits::ScoreTile::moved(score_tiles.across, k * 16, m));
        },
        [&](int32 n, int32 k) { return columns.read(k * 16, n); });
    if (!Traits::kSeparatesProducts || p.workspace.query)
      add_query_gradient<Traits>(p.workspace.query + row * Traits::kDim, part, sums);
  }
}

// Waits until the block may add to a tile of queries. Only thread 0 waits; the caller's next
// barrier holds back the other threads.
TW_DEVICE void wait_for_turn(const Turn& turn, KeyBlock& block) {
  if (thread_index() != 0) return;
  wait_for_count(turn.counter, turn.number);
  block.turn_counter = turn.counter;
}

// Lets the next block add to the tile. Call it after the barrier that ends the visit.
TW_DEVICE void end_turn(KeyBlock& block) {
  if (thread_index() != 0 || !block.turn_counter) return;
  count_up(block.turn_counter);
  block.turn_counter = nullptr;
}

// Does the work of visit `now`, and returns what is known of visit `next` and the one after it.
template <class Traits>
TW_DEVICE Visits run_visit(const Backward& p, typename Traits::Memory& memory,
                           const VisitPlaces<Traits>& now, const NextVisit& next,
                           KeyGradients<Traits>& sums) {
  KeyBlock& block = memory.block;
  compute_scores<Traits>(p, memory, now, sums);
  if (p.workspace.turns) wait_for_turn(turn_of<Traits>(p, block, now.visit), block);
  const ScoreTilePlaces<Traits> score_tiles(memory);
  block_barrier();
  if constexpr (Traits::kExchangesWeights)
    add_columns<Traits>(sums.of_value,
                        rows_of_score_tile<Traits>(score_tiles.down + Traits::ScoreTile::kBytes),
                        now.incoming_down, 0);
  if constexpr (Traits::kTiles.incoming_stages == 1) {
    if constexpr (Traits::kExchangesWeights) block_barrier();
    if (next.exists) load_incoming<Traits>(p, memory, next, 0);
  }
  compute_query_gradient<Traits>(p, memory, now, score_tiles);
  const Visits then = visits_from<Traits>(p, memory, next.visit);
  if constexpr (Traits::kExchangesWeights)
    add_columns<Traits>(sums.of_key, rows_of_score_tile<Traits>(score_tiles.down), now.query_down,
                        0);
  return then;
}

// The stage that receives the queries of the next visit; there are two.
TW_DEVICE int32 next_stage(int32 stage) {
  return stage ^ 1;
}

// The prologue: starts the copies of the block's keys and values and of the first visit.
template <class Traits>
TW_DEVICE Visits begin_visits(const Backward& p, typename Traits::Memory& memory) {
  load_keys<Traits>(p, memory);
  const Visit first = first_visit<Traits>(p, memory);
  NextVisit next = next_visit<Traits>(p, memory, first);
  if (next.exists) {
    load_visit<Traits>(p, memory, next, 0);
    if (Traits::kTiles.incoming_stages == 1) load_incoming<Traits>(p, memory, next, 0);
  }
  const CurrentVisit now = current_visit<Traits>(p, memory, first);
  if (Traits::kLooksAhead && now.exists)
    next = next_visit<Traits>(p, memory, visit_after<Traits>(p, memory, first));
  return {now, next};
}

// Waits until the copies of all threads have arrived, and ends the turn of the previous visit.
template <class Traits>
TW_DEVICE void await_visit(const Backward& p, typename Traits::Memory& memory) {
  commit_copies();
  wait_for_copies<0>();
  block_barrier();
  if (p.workspace.turns) end_turn(memory.block);
}

template <class Traits>
TW_DEVICE void backward(const Backward& p) {
  auto& memory = shared_memory<typename Traits::Memory, Traits::kMostShared>();
  enter<Traits>(p, memory);
  if constexpr (Traits::kIsGeneral || Traits::kIsFeatured)
    if (p.workspace.slopes) clear_slope_partials<Traits>(p, memory.block);
  if (memory.block.columns.empty()) return;
  Visits visits = begin_visits<Traits>(p, memory);
  const LanePlaces<Traits> lane(memory);
  KeyGradients<Traits> sums;
  sums.of_key.clear();
  sums.of_value.clear();
  TW_ROLLED
  for (int32 stage = 0; visits.current.exists; stage = next_stage(stage)) {
    if constexpr (!Traits::kLooksAhead)
      visits.next =
          next_visit<Traits>(p, memory, visit_after<Traits>(p, memory, visits.current.visit));
    await_visit<Traits>(p, memory);
    if constexpr (Traits::kLoadsMask && Traits::kMaskStages == 1)
      if ((p.scoring.asked & score::kVisible) != 0)
        memory.visible.at[warp_index()].pack(lane_index());
    if (visits.next.exists) load_visit<Traits>(p, memory, visits.next, next_stage(stage));
    visits = run_visit<Traits>(p, memory, {lane, visits.current, stage}, visits.next, sums);
  }
  await_visit<Traits>(p, memory);
  store_key_gradients<Traits>(p, memory, sums.of_key, sums.of_value);
}

}  // namespace tilewise::cuda::sm80
