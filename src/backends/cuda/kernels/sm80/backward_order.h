// The order in which a block visits tiles of queries, skipping those that the block mask hides;
// and, for deterministic results, when it is the block's turn to add to a tile.
#pragma once

#include "backends/cuda/device/bits.h"
#include "backends/cuda/device/order.h"
#include "backends/cuda/kernels/sm80/backward_traits.h"

namespace tilewise::cuda::sm80 {

// A block's turn to add to a tile of queries: when the tile's counter equals `number`.
struct Turn {
  int32* counter;
  int32 number;
};

template <class Traits>
TW_DEVICE Turn turn_of(const Backward& p, const KeyBlock& block, Visit visit) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const int32 tile = visit.tile(p, block);
  const int64 all = query_tiles(p.shape, kTiles);
  const Range rows = tile_range(tile, kTiles.queries, block.queries.length);
  const int64 first = BandTiles{block.band}.key_tiles(rows, kTiles.keys).begin;
  return {p.workspace.turns + ((int64{block.b} * p.shape.heads + block.head(visit.g)) * all + tile),
          block.tile - static_cast<int32>(first)};
}

// Whether the block mask leaves some of the block's keys visible to the tile of queries.
template <class Traits>
TW_DEVICE bool is_present(const Backward& p, const KeyBlock& block, Visit visit) {
  const Range rows = tile_range(visit.tile(p, block), Traits::kTiles.queries, block.queries.length);
  return blocks_of(p.scoring.mask, block.b, block.head(visit.g)).cover(rows, block.columns) !=
         Cover::kNone;
}

// Takes and ends the turns of `count` visits that are skipped, from `visit` on.
template <class Traits>
TW_DEVICE void skip_turns(const Backward& p, const KeyBlock& block, Visit visit, int32 count) {
  if (!takes_turns(p) || thread_index() != 0) return;
  for (int32 n = 0; n < count; ++n) {
    const Turn turn = turn_of<Traits>(p, block, {visit.g, visit.n + n});
    wait_for_count(turn.counter, turn.number);
    count_up(turn.counter);
  }
}

// The first visit from `visit` on that the block mask does not hide. A warp tests 32 tiles at once.
template <class Traits>
TW_DEVICE Visit present_from(const Backward& p, typename Traits::Memory& memory, Visit visit) {
  const KeyBlock& block = memory.block;
  PresentTiles& kept = memory.present.at[warp_index()];
  PresentTiles known = kept;
  while (true) {
    if (visit.n >= block.tiles) visit = {visit.g + 1, 0};
    if (!visit.exists(block)) return visit;
    const int32 first = visit.n / kWarp * kWarp, end = core::smaller(first + kWarp, block.tiles);
    if (known.g != visit.g || known.first != first) {
      const Visit looked_at{visit.g, first + lane_index()};
      const bool is_there = looked_at.n < end && is_present<Traits>(p, block, looked_at);
      known = {visit.g, first, warp_ballot(is_there)};
      warp_barrier();
      if (lane_index() == 0) kept = known;
      warp_barrier();
    }
    const uint32 left = known.tiles >> (visit.n - first);
    const int32 skipped = left != 0 ? highest_bit(left & (0 - left)) : end - visit.n;
    skip_turns<Traits>(p, block, visit, skipped);
    visit.n += skipped;
    if (left != 0) return visit;
  }
}

// The visit that follows `visit`.
template <class Traits>
TW_DEVICE Visit visit_after(const Backward& p, typename Traits::Memory& memory, Visit visit) {
  const KeyBlock& block = memory.block;
  if constexpr (Traits::kSkipsBlocks)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBlocks))
      return present_from<Traits>(p, memory, {visit.g, visit.n + 1});
  while (true) {
    if (++visit.n >= block.tiles) visit = {visit.g + 1, 0};
    if (!score::asks<Traits::kFeatures>(p.scoring, score::kBlocks) || !visit.exists(block) ||
        is_present<Traits>(p, block, visit))
      return visit;
    skip_turns<Traits>(p, block, visit, 1);
  }
}

template <class Traits>
TW_DEVICE Visit first_visit(const Backward& p, typename Traits::Memory& memory) {
  const KeyBlock& block = memory.block;
  if constexpr (Traits::kSkipsBlocks) {
    if (lane_index() == 0) memory.present.at[warp_index()].g = -1;  // none is known yet
    warp_barrier();
  }
  if (block.tiles == 0) return {block.heads, 0};
  return visit_after<Traits>(p, memory, {0, -1});
}

}  // namespace tilewise::cuda::sm80
