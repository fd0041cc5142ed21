// Attention forward by tensor cores. A block has a tile of rows of one head, and each of its four
// warps a quarter of them.
//
//   two stages      query     key, value of tile n     key, value of tile n - 1, on their way
//   one stage       query     key of tile n    then value of tile n, and key of tile n - 1
//                     |          |                          (cp.async)
//   a warp          score = query . key    registers, float32
//                   shape, mask, raise, weigh    where features, borders or new maxima ask for it
//                   output += weights . value    registers: weights are a left operand as they lie
//
// Tiles of keys go from the last that the queries see to the first. A warp whose rows see nothing
// of a tile leaves it out, and all of them one that the block mask does not have.
#pragma once

#include "backends/cuda/kernels/sm80/finish.h"
#include "backends/cuda/kernels/sm80/score.h"
#include "backends/cuda/kernels/sm80/walk.h"

namespace tilewise::cuda::sm80 {

// Copies have landed but for the last groups, and everybody sees them.
template <int32 groups = 0>
TW_DEVICE void await_copies() {
  wait_for_copies<groups>();
  block_barrier();
}

// For each tile of keys, as sight_of(tile) says of which a warp sees something: calls
// weigh(tile, sight) once its keys have come, and then accumulate(tile) when its values have.
//
// This, weighing and the kernel are long: what stays in registers hangs on what is in one text.
// NOLINTBEGIN(readability-function-size,readability-function-cognitive-complexity)
template <class Traits, class SightOf, class Weigh, class Accumulate>
TW_DEVICE void for_each_key_tile(const Forward& p, typename Traits::Memory& memory, Walked begin,
                                 const SightOf& sight_of, const Weigh& weigh,
                                 const Accumulate& accumulate) {
  const Head& head = memory.head;
  const int32 first_key = head.first_key;
  auto held = key_share<Traits>(head, memory, thread_index());
  if constexpr (Traits::kHoldsRows) {
    held.key = kept(held.key);
    held.value = kept(held.value);
    held.to = kept(held.to);
  }
  const auto share_now = [&]() -> KeyShare<Traits> {
    if constexpr (Traits::kHoldsRows) return held;
    return key_share<Traits>(head, memory, thread_index_anew());
  };
  TW_ROLLED
  for (Walked tile = begin; tile.first >= first_key;) {
    const Walked next = tile_before<Traits>(p, memory, tile);
    const bool is_last = next.first < first_key;
    // Read before the barrier, where waiting costs nothing.
    Sight<Traits> sight = sight_of(tile);
    // What comes during the first tile was asked for before the walk.
    const bool is_ahead = Traits::kBeginsAhead && tile.first == head.last_key;
    if (is_ahead)
      await_copies<1>();
    else
      await_copies();
    // Before the next tile of it comes into the same place.
    if constexpr (Traits::kHoldsVisible) {
      if (score::asks<Traits::kFeatures>(p.scoring, score::kVisible))
        sight.visible = memory.extras.visible.at[warp_index()].take(
            p.scoring.mask.visible.stride.row == 0, lane_index());
    }
    if constexpr (Traits::kStages == 1) {
      if (!is_ahead && (!Traits::kIsGeneral || tile.turn >= 0))
        load_value<Traits>(p, memory, tile, share_now());
      look_up<Traits>(p, memory, next);
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
          look_up<Traits>(p, memory, tile_before<Traits>(p, memory, next));
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

// Scores to weights of the rows.
template <class Traits, class Rows>
TW_DEVICE void weigh(const Forward& p, typename Traits::Memory& memory, TileCorner corner,
                     const Sight<Traits>& sight, Rows& rows, typename Traits::Scores& scores,
                     typename Traits::Output& output) {
  // A bound of the scores is for tiles whose kernels have a softcap.
  constexpr bool kIsBounded = Traits::kIsFeatured && (Traits::kFeatures & score::kSoftcap) != 0;
  const score::Bounded known = finish_scores<Traits>(p, memory, corner, sight, scores);
  score::weigh<kIsBounded>(rows, p.scoring.measure, known, scores, output);
  if constexpr (Traits::kIsGeneral || Traits::kIsFeatured) {
    if (score::asks<Traits::kFeatures>(p.scoring, score::kDropout))
      score::for_each_dropped(memory.extras.asked.drawing, corner.of_lane(), scores,
                              [](float& weight, int32, int32, int32) { weight = 0; });
  }
}

// output += weights . value. `value` is where the lane begins to read the tile, down.
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

// Leaves for the walk what the block's threads know, each of all of it. By all threads; ends with a
// barrier.
template <class Traits>
TW_DEVICE void settle(const Forward& p, const Head& head, typename Traits::Memory& memory) {
  if (thread_index() == 0) {
    memory.head = head;
    if constexpr (Traits::kIsGeneral || Traits::kIsFeatured)
      set_asked<Traits::kFeatures>(p.scoring, head, memory.extras.asked);
  }
  if constexpr (Traits::kSkipsTiles) {
    // Of no window yet.
    if (lane_index() == 0) memory.extras.window[warp_index()].first = head.last_key + Traits::kKeys;
  }
  const Reach reach = reach_of(p, head, Traits::kRowsOfWarp, warp_index());
  if (lane_index() == 0) memory.reach[warp_index()] = reach;
  if constexpr (!Traits::kHoldsRows) memory.rows.at[0].clear();
  block_barrier();
}

// What comes while the first tile of keys is used: its values, or with two stages the next tile.
template <class Traits>
TW_DEVICE void load_ahead(const Forward& p, const Head& head, typename Traits::Memory& memory,
                          Walked first, const KeyShare<Traits>& mine) {
  if (Traits::kStages == 1) return load_value<Traits>(p, memory, first, mine);
  const Walked next = tile_before<Traits>(p, memory, first);
  if (next.first < head.first_key) return;
  load_key<Traits>(p, memory, next, mine);
  load_value<Traits>(p, memory, next, mine);
}

// Where the walk begins, which has asked for its queries by then. The common variant has asked for
// its first tile of keys, before anything else is worked out; the general one does so in the walk,
// by a turn without a tile: the text of loading, which is long there, stands once.
template <class Traits>
TW_DEVICE Walked begin_walk(const Forward& p, const Head& head, typename Traits::Memory& memory) {
  const Walked before{head.last_key + Traits::kKeys, -1, true};
  if constexpr (Traits::kIsGeneral) {
    settle<Traits>(p, head, memory);
    load_query<Traits>(p, head, memory);
    if (Traits::kStages == 2) look_up<Traits>(p, memory, tile_before<Traits>(p, memory, before));
    commit_copies();
    return before;
  }
  load_query<Traits>(p, head, memory);
  if constexpr (Traits::kSettlesFirst) settle<Traits>(p, head, memory);
  const Walked last = tile_before<Traits>(p, memory, before);
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
  if constexpr (!Traits::kSettlesFirst) settle<Traits>(p, head, memory);
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
    query.hold();
  }
  typename Traits::Weights weights;
  typename Traits::HeldRows held;
  if constexpr (Traits::kHoldsRows) held.clear();
  const Reach reach_of_warp = memory.reach[warp_index()];
  for_each_key_tile<Traits>(
      p, memory, begin,
      [&](Walked tile) -> Sight<Traits> {
        if (Traits::kIsGeneral && tile.turn < 0) return {};
        const Reach reach =
            Traits::kHoldsRows ? reach_of_warp : memory.reach[Traits::thread() / kWarp];
        // By votes, for these tell the compiler that the warp stays together.
        return {warp_any(tile.is_present && reach.meets(tile.first, Traits::kKeys)),
                !warp_any(!reach.covers(tile.first, Traits::kKeys)),
                {}};
      },
      [&](Walked tile, const Sight<Traits>& sight) {
        const int32 lane = Traits::thread() & (kWarp - 1);
        typename Traits::Scores scores;
        // Or the compiler keeps a place for each of its steps.
        if constexpr (!Traits::kHasRegisters)
          query.lane = query_lane(lane, rows_before(Traits::thread()));
        score<Traits>(query,
                      KeyTile::across(shared_address(&memory.key[stage_of<Traits>(tile)]), lane),
                      scores);
        const TileCorner corner = corner_of<Traits>(head, tile);
        if constexpr (Traits::kHoldsRows) {
          weigh<Traits>(p, memory, corner, sight, held, scores, output);
        } else {
          typename Traits::ReadRows rows(memory.rows.at[0].of_lane());
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
  // Output goes where the warp's own queries were, so it waits for no other warp, once a tile of
  // keys was awaited and all queries with it. Where queries are read to the end the warp's own
  // barrier would do, too, but racecheck does not see that one.
  wait_for_copies<0>();
  if (head.last_key < head.first_key || !Traits::kHoldsQuery)
    block_barrier();
  else
    warp_barrier();
  if constexpr (Traits::kHoldsRows)
    finish<Traits>(p, memory, held, output);
  else
    finish<Traits>(p, memory, memory.rows.at[0].of_lane(), output);
}
// NOLINTEND(readability-function-size,readability-function-cognitive-complexity)

}  // namespace tilewise::cuda::sm80
