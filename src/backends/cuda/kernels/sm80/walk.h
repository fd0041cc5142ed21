// Which tiles of keys a block walks: from the last that its queries see to the first, without those
// of which a block mask has nothing.
#pragma once

#include "backends/cuda/device/bits.h"
#include "backends/cuda/kernels/sm80/load.h"

namespace tilewise::cuda::sm80 {

inline constexpr int32 kTilesOfWindow = 32;

// What the block mask has of a tile of keys for rows of the tile of queries.
TW_DEVICE bool has_some(const core::BlockMask& blocks, Range rows, Range keys) {
  return !rows.empty() && !keys.empty() && blocks.cover(rows, keys) != core::Cover::kNone;
}

// Looks at 32 tiles of keys at once, each lane at one of them: those around the one that begins at
// `first`. By a warp, for itself: what all warps need of it is the same for each.
template <class Traits>
TW_DEVICE BlockWindow look_at_blocks(const Head& head, const core::BlockMask& blocks, int32 first) {
  constexpr int32 kKeysOfWindow = kTilesOfWindow * Traits::kKeys;
  const int32 begin = first / kKeysOfWindow * kKeysOfWindow;
  const int32 key = begin + lane_index() * Traits::kKeys;
  const Range keys{key, core::smaller<int64>(key + Traits::kKeys, head.keys.length)};
  const int64 row = head.rows.begin + warp_index() * Traits::kRowsOfWarp;
  const Range rows{row, core::smaller(row + Traits::kRowsOfWarp, head.rows.end)};
  return {begin, warp_ballot(has_some(blocks, head.rows, keys)),
          warp_ballot(has_some(blocks, rows, keys))};
}

// The tile of keys that is walked next. Where a window was left, the warp looks at another.
template <class Traits>
TW_DEVICE Walked tile_before(const Forward& p, typename Traits::Memory& memory, Walked tile) {
  Walked next{tile.first - Traits::kKeys, tile.turn + 1, true};
  if constexpr (Traits::kSkipsTiles) {
    if (!score::asks<Traits::kFeatures>(p.scoring, score::kBlocks)) return next;
    BlockWindow& shared = memory.extras.window[warp_index()];
    BlockWindow window = shared;
    while (next.first >= memory.head.first_key) {
      if (next.first < window.first) {
        window = look_at_blocks<Traits>(memory.head, memory.extras.asked.blocks, next.first);
        warp_barrier();
        if (lane_index() == 0) shared = window;
        warp_barrier();
      }
      const int32 place = (next.first - window.first) / Traits::kKeys;
      const uint32 left = window.of_block << (kTilesOfWindow - 1 - place);
      if (left != 0) {
        const int32 skipped = kTilesOfWindow - 1 - highest_bit(left);
        next.first -= skipped * Traits::kKeys;
        next.is_present = (window.of_warp >> (place - skipped) & 1) != 0;
        return next;
      }
      next.first = window.first - Traits::kKeys;
    }
  }
  return next;
}

}  // namespace tilewise::cuda::sm80
