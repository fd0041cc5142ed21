// In which order a block of keys meets the tiles of queries that see some of them: without those of
// which a mask by blocks has nothing, and where sums have to be made in one order, when it is the
// block's turn.
#pragma once

#include "backends/cuda/device/bits.h"
#include "backends/cuda/device/order.h"
#include "backends/cuda/kernels/sm80/backward_traits.h"

namespace tilewise::cuda::sm80 {

// The counter of a tile of queries, and what it counts before the block's keys come.
struct InOrder {
  int32* count;
  int32 before;
};

template <class Traits>
TW_DEVICE InOrder order_of(const Backward& p, const KeyBlock& block, Turn turn) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const int32 tile = turn.tile(p, block);
  const int64 all = query_tiles(p.shape, kTiles);
  const Range rows = tile_range(tile, kTiles.queries, block.queries.length);
  const int64 first = Meeting{block.band}.key_tiles(rows, kTiles.keys).begin;
  return {p.between.turns + ((int64{block.b} * p.shape.heads + block.head(turn.g)) * all + tile),
          block.tile - static_cast<int32>(first)};
}

// Of the mask by blocks: whether a tile of queries may see some of the block's keys.
template <class Traits>
TW_DEVICE bool is_present(const Backward& p, const KeyBlock& block, Turn turn) {
  const Range rows = tile_range(turn.tile(p, block), Traits::kTiles.queries, block.queries.length);
  return blocks_of(p.scoring.mask, block.b, block.head(turn.g)).cover(rows, block.columns) !=
         Cover::kNone;
}

// Turns that are left out are handed on at once.
template <class Traits>
TW_DEVICE void hand_on(const Backward& p, const KeyBlock& block, Turn turn, int32 count) {
  if (!goes_back(p) || thread_index() != 0) return;
  for (int32 n = 0; n < count; ++n) {
    const InOrder order = order_of<Traits>(p, block, {turn.g, turn.n + n});
    wait_for_count(order.count, order.before);
    count_up(order.count);
  }
}

// From `turn` on, the first that a mask by blocks has. A warp looks at 32 of them at once.
template <class Traits>
TW_DEVICE Turn present_from(const Backward& p, typename Traits::Memory& memory, Turn turn) {
  const KeyBlock& block = memory.block;
  PresentTiles& kept = memory.present.at[warp_index()];
  PresentTiles known = kept;
  while (true) {
    if (turn.n >= block.tiles) turn = {turn.g + 1, 0};
    if (!turn.exists(block)) return turn;
    const int32 first = turn.n / kWarp * kWarp, end = core::smaller(first + kWarp, block.tiles);
    if (known.g != turn.g || known.first != first) {
      const Turn looked_at{turn.g, first + lane_index()};
      const bool is_there = looked_at.n < end && is_present<Traits>(p, block, looked_at);
      known = {turn.g, first, warp_ballot(is_there)};
      warp_barrier();
      if (lane_index() == 0) kept = known;
      warp_barrier();
    }
    const uint32 left = known.tiles >> (turn.n - first);
    const int32 skipped = left != 0 ? highest_bit(left & (0 - left)) : end - turn.n;
    hand_on<Traits>(p, block, turn, skipped);
    turn.n += skipped;
    if (left != 0) return turn;
  }
}

// The turn that comes next.
template <class Traits>
TW_DEVICE Turn after(const Backward& p, typename Traits::Memory& memory, Turn turn) {
  const KeyBlock& block = memory.block;
  if constexpr (Traits::kSkipsBlocks)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBlocks))
      return present_from<Traits>(p, memory, {turn.g, turn.n + 1});
  while (true) {
    if (++turn.n >= block.tiles) turn = {turn.g + 1, 0};
    if (!score::asks<Traits::kFeatures>(p.scoring, score::kBlocks) || !turn.exists(block) ||
        is_present<Traits>(p, block, turn))
      return turn;
    hand_on<Traits>(p, block, turn, 1);
  }
}

template <class Traits>
TW_DEVICE Turn first_turn(const Backward& p, typename Traits::Memory& memory) {
  const KeyBlock& block = memory.block;
  if constexpr (Traits::kSkipsBlocks) {
    if (lane_index() == 0) memory.present.at[warp_index()].g = -1;  // nothing is known yet
    warp_barrier();
  }
  if (block.tiles == 0) return {block.heads, 0};
  return after<Traits>(p, memory, {0, -1});
}

}  // namespace tilewise::cuda::sm80
