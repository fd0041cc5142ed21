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

// Whether the block mask has nothing of a tile.
template <class Traits>
TW_DEVICE bool covers_none(const typename Traits::Memory& memory, int32 first) {
  const Head& head = memory.head;
  const int64 end = core::smaller<int64>(first + Traits::kKeys, head.keys.length);
  return memory.extras.asked.blocks.cover(head.rows, {first, end}) == core::Cover::kNone;
}

// The tile of keys that is walked next.
template <class Traits>
TW_DEVICE Walked tile_before(const Forward& p, const typename Traits::Memory& memory, Walked tile) {
  const Head& head = memory.head;
  Walked next{tile.first - Traits::kKeys, tile.turn + 1};
  if constexpr (Traits::kIsGeneral) {
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBlocks))
      while (next.first >= head.first_key && covers_none<Traits>(memory, next.first))
        next.first -= Traits::kKeys;
  }
  return next;
}

// Copies have landed, and everybody sees them.
TW_DEVICE void await_copies() {
  if (!wounded(core::Wound::kCopyNotAwaited)) wait_for_copies<0>();
  block_barrier();
}

// The same of the second half of a tile, where it has one.
TW_DEVICE void await_values() {
  if (!wounded(core::Wound::kValueNotAwaited)) return await_copies();
  block_barrier();
}

// Calls weigh(tile) for each tile of keys once its keys have come, and then accumulate(tile) when
// its values have.
template <class Traits, class Weigh, class Accumulate>
TW_DEVICE void for_each_key_tile(const Forward& p, typename Traits::Memory& memory, Walked begin,
                                 const Weigh& weigh, const Accumulate& accumulate) {
  const Head& head = memory.head;
  TW_ROLLED
  for (Walked tile = begin; tile.first >= head.first_key;) {
    const Walked next = tile_before<Traits>(p, memory, tile);
    const bool is_last = next.first < head.first_key;
    await_copies();
    if (Traits::kStages == 1) {
      if (!Traits::kIsGeneral || tile.turn >= 0) load_value<Traits>(p, memory, tile);
      look_up<Traits>(p, memory, next);
    } else if (!is_last) {
      load_key<Traits>(p, memory, next);
      load_value<Traits>(p, memory, next);
      if (Traits::kIsGeneral && p.keys.paged())
        look_up<Traits>(p, memory, tile_before<Traits>(p, memory, next));
    }
    commit_copies();
    weigh(tile);
    if (Traits::kStages == 1) {
      await_values();
      if (!is_last) load_key<Traits>(p, memory, next);
      commit_copies();
    }
    accumulate(tile);
    tile = next;
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

// Where the walk begins, which has asked for its queries by then. The common variant has asked for
// its first tile of keys; the general one does so in the walk, by a turn without a tile: the text
// of loading, which is long there, stands once.
template <class Traits>
TW_DEVICE Walked begin_walk(const Forward& p, typename Traits::Memory& memory) {
  const Walked before{memory.head.last_key + Traits::kKeys, -1};
  load_query<Traits>(p, memory);
  const Walked last = tile_before<Traits>(p, memory, before);
  if (Traits::kIsGeneral) {
    if (Traits::kStages == 2) look_up<Traits>(p, memory, last);
  } else if (last.first >= memory.head.first_key) {
    load_key<Traits>(p, memory, last);
    if (Traits::kStages == 2) load_value<Traits>(p, memory, last);
  }
  commit_copies();
  return Traits::kIsGeneral ? before : last;
}

template <class Traits>
TW_DEVICE void forward(const Forward& p) {
  using QueryTile = typename Traits::QueryTile;
  using KeyTile = typename Traits::KeyTile;
  auto& memory = shared_memory<typename Traits::Memory>();
  const Head& head = memory.head;
  enter<Traits>(p, memory);
  if (head.rows.empty()) return;
  const Walked begin = begin_walk<Traits>(p, memory);

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
  const auto meets = [&](Walked tile) {
    const bool is_tile = !Traits::kIsGeneral || tile.turn >= 0;
    return is_tile && head.reach[warp_index()].meets(tile.first, Traits::kKeys);
  };
  for_each_key_tile<Traits>(
      p, memory, begin,
      [&](Walked tile) {
        if (!meets(tile)) return;
        const int32 lane = thread_index_anew() & (kWarp - 1);
        typename Traits::Scores scores;
        score<Traits>(query,
                      KeyTile::across(shared_address(&memory.key[stage_of<Traits>(tile)]), lane),
                      scores);
        weigh<Traits>(p, memory, corner_of<Traits>(head, tile), scores, output);
        weights.set(scores);
      },
      [&](Walked tile) {
        if (!meets(tile)) return;
        const int32 lane = thread_index_anew() & (kWarp - 1);
        accumulate<Traits>(
            weights, KeyTile::down(shared_address(&memory.value[stage_of<Traits>(tile)]), lane),
            output);
      });
  wait_for_copies<0>();
  block_barrier();
  finish<Traits>(p, memory, output);
}

}  // namespace tilewise::cuda::sm80
