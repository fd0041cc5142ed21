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

namespace tilewise::cuda::sm80 {

// The next tile of keys that is walked, from the one that begins at `first`.
template <class Traits>
TW_DEVICE int32 tile_before(const Forward& p, const typename Traits::Memory& memory, int32 first) {
  const Head& head = memory.head;
  int32 next = first - Traits::kKeys;
  if constexpr (Traits::kIsGeneral) {
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBlocks))
      while (next >= head.first_key &&
             memory.extras.asked.blocks.cover(
                 head.rows, {next, core::smaller<int64>(next + Traits::kKeys, head.keys.length)}) ==
                 core::Cover::kNone)
        next -= Traits::kKeys;
  }
  return next;
}

// Copies have landed, and everybody sees them.
TW_DEVICE void await_copies() {
  if (!wounded(core::Wound::kCopyNotAwaited)) wait_for_copies<0>();
  block_barrier();
}

// Calls weigh(first) for each tile of keys once its keys have come, and then accumulate(first) when
// its values have.
template <class Traits, class Weigh, class Accumulate>
TW_DEVICE void for_each_key_tile(const Forward& p, typename Traits::Memory& memory, int32 last,
                                 const Weigh& weigh, const Accumulate& accumulate) {
  const Head& head = memory.head;
  TW_ROLLED
  for (int32 first = last; first >= head.first_key;) {
    const int32 next = tile_before<Traits>(p, memory, first);
    await_copies();
    if (Traits::kStages == 1) {
      load_value<Traits>(p, memory, first);
      look_up<Traits>(p, memory, next);
    } else if (next >= head.first_key) {
      load_key<Traits>(p, memory, next);
      load_value<Traits>(p, memory, next);
    }
    commit_copies();
    weigh(first);
    if (Traits::kStages == 1) {
      await_copies();
      if (next >= head.first_key) load_key<Traits>(p, memory, next);
      commit_copies();
    }
    accumulate(first);
    first = next;
  }
}

// Scores to weights of the rows, after their references have risen where scores ask for it.
template <class Traits>
TW_DEVICE void weigh(const Forward& p, typename Traits::Memory& memory, TileCorner corner,
                     typename Traits::Scores& scores, typename Traits::Output& output) {
  const bool held = finish_scores<Traits>(p, memory, corner, scores);
  const auto rows = memory.rows.of_lane();
  const score::Measure measure = p.scoring.measure;
  if (warp_any(score::is_unusual(rows, measure, held, scores))) {
    if (!held) score::hold(scores, measure.limit);
    score::raise_rows(rows, measure, scores, output);
  }
  score::weigh(rows, measure, scores);
  if constexpr (Traits::kIsGeneral) {
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
        if (wounded(core::Wound::kValuesNotTransposed)) return load_matrices(at);
        return load_matrices_transposed(at);
      });
}

// By all threads of the block; ends with a barrier.
template <class Traits>
TW_DEVICE void enter(const Forward& p, typename Traits::Memory& memory) {
  if (thread_index() == 0) {
    set_head(p, Traits::kSize, memory.head);
    if constexpr (Traits::kIsGeneral)
      set_asked<Traits::kFeatures>(p.scoring, memory.head, memory.extras.asked);
  }
  block_barrier();
  if (lane_index() == 0)
    memory.head.reach[warp_index()] = reach_of(p, memory.head, Traits::kRowsOfWarp, warp_index());
  memory.rows.clear();
  block_barrier();
}

// Asks for the queries and for the first tile of keys.
template <class Traits>
TW_DEVICE void begin_loads(const Forward& p, typename Traits::Memory& memory, int32 last) {
  load_query<Traits>(p, memory);
  if (Traits::kIsGeneral && p.keys.paged()) {
    look_up<Traits>(p, memory, last);
    block_barrier();
  }
  if (last >= memory.head.first_key) {
    load_key<Traits>(p, memory, last);
    if (Traits::kStages == 2) load_value<Traits>(p, memory, last);
  }
  commit_copies();
}

template <class Traits>
TW_DEVICE void forward(const Forward& p) {
  using QueryTile = typename Traits::QueryTile;
  using KeyTile = typename Traits::KeyTile;
  auto& memory = shared_memory<typename Traits::Memory>();
  const Head& head = memory.head;
  enter<Traits>(p, memory);
  if (head.rows.empty()) return;
  const int32 last = tile_before<Traits>(p, memory, head.last_key + Traits::kKeys);
  begin_loads<Traits>(p, memory, last);

  typename Traits::Output output;
  output.clear();
  const int32 warps_first = warp_index() * Traits::kRowsOfWarp * QueryTile::kRowBytes;
  Query<Traits> query{QueryTile::down(shared_address(&memory.query), lane_index()) + warps_first,
                      {}};
  if constexpr (Traits::kHoldsQuery) {
    wait_for_copies<0>();
    block_barrier();
    query.hold();
  }
  typename Traits::Weights weights;
  const auto meets = [&](int32 first) {
    return head.reach[warp_index()].meets(first, Traits::kKeys);
  };
  for_each_key_tile<Traits>(
      p, memory, last,
      [&](int32 first) {
        if (!meets(first)) return;
        const int32 lane = thread_index_anew() & (kWarp - 1);
        typename Traits::Scores scores;
        score<Traits>(query,
                      KeyTile::across(shared_address(&memory.key[stage_of<Traits>(first)]), lane),
                      scores);
        weigh<Traits>(p, memory, corner_of<Traits>(head, first), scores, output);
        weights.set(scores);
      },
      [&](int32 first) {
        if (!meets(first)) return;
        const int32 lane = thread_index_anew() & (kWarp - 1);
        accumulate<Traits>(
            weights, KeyTile::down(shared_address(&memory.value[stage_of<Traits>(first)]), lane),
            output);
      });
  wait_for_copies<0>();
  block_barrier();
  finish<Traits>(p, memory, output);
}

}  // namespace tilewise::cuda::sm80
