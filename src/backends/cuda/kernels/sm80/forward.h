// Forward on tensor cores. A block has one tile of rows: queries of one head, or of the heads that
// share a tile. Its warps divide the rows among them.
//
//   shared memory  two stages: query; key and value of tile n, and those of tile n - 1 in flight
//   shared memory  one stage:  query; key of tile n, then its value and the key of tile n - 1
//
//   a warp         score = query * key          float32 accumulators in registers
//                  shape, mask, raise           where features, borders or new maxima need it
//                  weigh                        scores become weights, in the same registers
//                  output += weights * value    lanes already hold weights as left fragments
//
// Tiles of keys are walked from the last visible one to the first. A warp skips a tile that none of
// its rows sees; the whole block skips a tile that the block mask hides from all of its rows.
#pragma once

#include "backends/cuda/kernels/sm80/finish.h"
#include "backends/cuda/kernels/sm80/score.h"
#include "backends/cuda/kernels/sm80/walk.h"

namespace tilewise::cuda::sm80 {

// Waits until all but the latest `groups` of the block's asynchronous copies have arrived, for all
// threads.
template <int32 groups = 0>
TW_DEVICE void await_copies() {
  wait_for_copies<groups>();
  block_barrier();
}

// The walk over tiles of keys. Calls weigh(tile, sight) when a tile's keys have arrived, and
// accumulate(tile) when its values have; sight = sight_of(tile). A warp that sees nothing of a tile
// skips both calls.
//
// This function and `forward` are long on purpose: the compiler allocates registers better over one
// function.
// NOLINTBEGIN(readability-function-size,readability-function-cognitive-complexity)
template <class Traits, class SightOf, class Weigh, class Accumulate>
TW_DEVICE void for_each_key_tile(const Forward& p, typename Traits::Memory& memory, Walked begin,
                                 const SightOf& sight_of, const Weigh& weigh,
                                 const Accumulate& accumulate) {
  const Head& head = memory.head;
  const int32 first_key = head.first_key;
  auto share = key_share<Traits>(head, memory, thread_index());
  if constexpr (Traits::kHoldsRows) {
    share.key = kept(share.key);
    share.value = kept(share.value);
    share.to = kept(share.to);
  }
  const auto share_now = [&]() -> KeyShare<Traits> {
    if constexpr (Traits::kHoldsRows) return share;
    return key_share<Traits>(head, memory, thread_index_anew());
  };
  TW_ROLLED
  for (Walked tile = begin; tile.first >= first_key;) {
    const Walked next = next_tile<Traits>(p, memory, tile);
    const bool is_last = next.first < first_key;
    // sight_of comes before the barrier, so that its latency overlaps with waiting for the barrier.
    Sight<Traits> sight = sight_of(tile);
    // For the first tile, begin_walk has already started the copies that overlap with it.
    const bool is_ahead = Traits::kBeginsAhead && tile.first == head.last_key;
    if (is_ahead)
      await_copies<1>();
    else
      await_copies();
    // The bits of the mask are taken before the copy of the next tile overwrites them.
    if constexpr (Traits::kHoldsVisible) {
      if (score::asks<Traits::kFeatures>(p.scoring, score::kVisible))
        sight.visible = memory.extras.visible.at[warp_index()].take(
            p.scoring.mask.visible.stride.row == 0, lane_index());
    }
    if constexpr (Traits::kStages == 1) {
      if (!is_ahead && (!Traits::kIsGeneral || tile.index >= 0))
        load_value<Traits>(p, memory, tile, share_now());
      look_up_pages<Traits>(p, memory, next);
      commit_copies();
      if (sight.some) weigh(tile, sight);
      await_copies();
      if (!is_last) load_key<Traits>(p, memory, next, share_now());
      commit_copies();
      if (sight.some) accumulate(tile);
    } else {
      if (!is_last && !is_ahead) {
        const KeyShare<Traits> mine = share_now();
        load_key<Traits>(p, memory, next, mine);
        load_value<Traits>(p, memory, next, mine);
        if (Traits::kIsGeneral && p.keys.paged())
          look_up_pages<Traits>(p, memory, next_tile<Traits>(p, memory, next));
      }
      commit_copies();
      if (sight.some) {
        weigh(tile, sight);
        accumulate(tile);
      }
    }
    tile = next;
  }
}

// Turns a tile's scores into weights.
template <class Traits, class Rows>
TW_DEVICE void weigh(const Forward& p, typename Traits::Memory& memory, TileCorner corner,
                     const Sight<Traits>& sight, Rows& rows, typename Traits::Scores& scores,
                     typename Traits::Output& output) {
  // Only softcap yields a bound of the scores.
  constexpr bool kIsBounded = Traits::kIsFeatured && (Traits::kFeatures & score::kSoftcap) != 0;
  const score::Bounded known = finish_scores<Traits>(p, memory, corner, sight, scores);
  score::weigh<kIsBounded>(rows, p.scoring.measure, known, scores, output);
  if constexpr (Traits::kIsGeneral || Traits::kIsFeatured) {
    if (score::asks<Traits::kFeatures>(p.scoring, score::kDropout))
      score::for_each_dropped(memory.extras.asked.drawing, corner.of_lane(), scores,
                              [](float& weight, int32, int32, int32) { weight = 0; });
  }
}

// output += weights * value. `value` is where the lane begins to read the tile, by Tile::down.
template <class Traits>
TW_DEVICE void accumulate(const typename Traits::Weights& weights, SharedAddress value,
                          typename Traits::Output& output) {
  Traits::OutputProduct::add(
      output, [&](int32 m, int32 k) { return weights.at[m][k]; },
      [&](int32 n, int32 k) {
        const SharedAddress at = Traits::KeyTile::moved(value, k * 16, n);
        return load_matrices_transposed(at);
      });
}

// Publishes in shared memory what all threads of the block need during the walk. Called by all
// threads; ends with a barrier.
template <class Traits>
TW_DEVICE void publish(const Forward& p, const Head& head, typename Traits::Memory& memory) {
  if (thread_index() == 0) {
    memory.head = head;
    if constexpr (Traits::kIsGeneral || Traits::kIsFeatured)
      set_asked<Traits::kFeatures>(p.scoring, head, memory.extras.asked);
  }
  if constexpr (Traits::kSkipsTiles) {
    // Places the window behind all keys, so that next_tile reads one first.
    if (lane_index() == 0) memory.extras.window[warp_index()].first = head.last_key + Traits::kKeys;
  }
  const Reach reach = reach_of(p, head, Traits::kRowsOfWarp, warp_index());
  if (lane_index() == 0) memory.reach[warp_index()] = reach;
  if constexpr (!Traits::kHoldsRows) memory.rows.at[0].clear();
  block_barrier();
}

// Starts the copies that overlap with the first tile: its values, or with two stages the next tile.
template <class Traits>
TW_DEVICE void load_ahead(const Forward& p, const Head& head, typename Traits::Memory& memory,
                          Walked first, const KeyShare<Traits>& mine) {
  if (Traits::kStages == 1) return load_value<Traits>(p, memory, first, mine);
  const Walked next = next_tile<Traits>(p, memory, first);
  if (next.first < head.first_key) return;
  load_key<Traits>(p, memory, next, mine);
  load_value<Traits>(p, memory, next, mine);
}

// The prologue: starts the copies of the queries and of the first tile of keys, before `publish` if
// the copies do not need what it publishes. General variants start the walk with an iteration that
// has no tile instead (index -1), so that their long code for loading keys exists only once.
template <class Traits>
TW_DEVICE Walked begin_walk(const Forward& p, const Head& head, typename Traits::Memory& memory) {
  const Walked before{head.last_key + Traits::kKeys, -1, true};
  if constexpr (Traits::kIsGeneral) {
    publish<Traits>(p, head, memory);
    load_query<Traits>(p, head, memory);
    if (Traits::kStages == 2)
      look_up_pages<Traits>(p, memory, next_tile<Traits>(p, memory, before));
    commit_copies();
    return before;
  }
  load_query<Traits>(p, head, memory);
  if constexpr (Traits::kPublishesFirst) publish<Traits>(p, head, memory);
  const Walked last = next_tile<Traits>(p, memory, before);
  const bool is_seen = last.first >= head.first_key;
  const auto mine = key_share<Traits>(head, memory, thread_index());
  if (is_seen) {
    load_key<Traits>(p, memory, last, mine);
    if (Traits::kStages == 2) load_value<Traits>(p, memory, last, mine);
  }
  commit_copies();
  if constexpr (Traits::kBeginsAhead) {
    if (is_seen) load_ahead<Traits>(p, head, memory, last, mine);
    commit_copies();
  }
  if constexpr (!Traits::kPublishesFirst) publish<Traits>(p, head, memory);
  return last;
}

template <class Traits>
TW_DEVICE void forward(const Forward& p) {
  using QueryTile = typename Traits::QueryTile;
  using KeyTile = typename Traits::KeyTile;
  auto& memory = shared_memory<typename Traits::Memory, Traits::kMostShared>();
  Head known;
  set_head(p, Traits::kSize, known);
  if (known.rows.empty()) return;
  const Walked begin = begin_walk<Traits>(p, known, memory);
  const Head& head = memory.head;

  typename Traits::Output output;
  output.clear();
  const auto rows_before = [](int32 thread) { return thread / kWarp * Traits::kRowsOfWarp; };
  const auto query_lane = [&](int32 lane, int32 rows) {
    return QueryTile::down(shared_address(&memory.query), lane) + rows * QueryTile::kRowBytes;
  };
  Query<Traits> query{query_lane(lane_index(), rows_before(thread_index())), {}};
  if constexpr (Traits::kHoldsQuery) {
    wait_for_copies<Traits::kBeginsAhead ? 1 : 0>();
    block_barrier();
    query.load_fragments();
  }
  typename Traits::Weights weights;
  typename Traits::RegisterRows own_rows;
  if constexpr (Traits::kHoldsRows) own_rows.clear();
  const Reach reach_of_warp = memory.reach[warp_index()];
  for_each_key_tile<Traits>(
      p, memory, begin,
      [&](Walked tile) -> Sight<Traits> {
        if (Traits::kIsGeneral && tile.index < 0) return {};
        const Reach reach =
            Traits::kHoldsRows ? reach_of_warp : memory.reach[Traits::thread() / kWarp];
        // Warp votes tell the compiler that the branch is uniform in the warp.
        return {warp_any(tile.is_present && reach.meets(tile.first, Traits::kKeys)),
                !warp_any(!reach.covers(tile.first, Traits::kKeys)),
                {}};
      },
      [&](Walked tile, const Sight<Traits>& sight) {
        const int32 lane = Traits::thread() & (kWarp - 1);
        typename Traits::Scores scores;
        // query.lane is recomputed in each iteration; otherwise the compiler keeps an address in a
        // register for each step of the product.
        if constexpr (!Traits::kHasRegisters)
          query.lane = query_lane(lane, rows_before(Traits::thread()));
        score<Traits>(query,
                      KeyTile::across(shared_address(&memory.key[stage_of<Traits>(tile)]), lane),
                      scores);
        const TileCorner corner = corner_of<Traits>(head, tile);
        if constexpr (Traits::kHoldsRows) {
          weigh<Traits>(p, memory, corner, sight, own_rows, scores, output);
        } else {
          typename Traits::CachedRows rows(memory.rows.at[0].of_lane());
          weigh<Traits>(p, memory, corner, sight, rows, scores, output);
        }
        weights.set(scores);
      },
      [&](Walked tile) {
        const int32 lane = Traits::thread() & (kWarp - 1);
        accumulate<Traits>(
            weights,
            KeyTile::down(shared_address(&memory.key[Traits::kStages + stage_of<Traits>(tile)]),
                          lane),
            output);
      });
  // The epilogue writes the output over the warp's own queries in shared memory. If a tile was
  // walked, all queries have arrived by now, and a warp barrier is enough. It would also be enough
  // without kHoldsQuery, where queries are read from shared memory until the end, but
  // compute-sanitizer's racecheck would report a race; so these kernels have a block barrier.
  wait_for_copies<0>();
  if (head.last_key < head.first_key || !Traits::kHoldsQuery)
    block_barrier();
  else
    warp_barrier();
  if constexpr (Traits::kHoldsRows)
    finish<Traits>(p, memory, own_rows, output);
  else
    finish<Traits>(p, memory, memory.rows.at[0].of_lane(), output);
}
// NOLINTEND(readability-function-size,readability-function-cognitive-complexity)

}  // namespace tilewise::cuda::sm80
