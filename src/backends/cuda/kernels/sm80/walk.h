// The order of tiles of keys: from the last visible one to the first, without those that the block
// mask excludes.
#pragma once

#include "backends/cuda/device/bits.h"
#include "backends/cuda/kernels/sm80/load.h"

namespace tilewise::cuda::sm80 {

inline constexpr int32 kTilesOfWindow = 32;

// Reads the block mask for the window of 32 tiles of keys that contains key `first`, one tile per
// lane: a bit in of_block says whether the mask lets any row of the thread block see some of the
// tile, a bit in of_warp whether any row of the warp. Each warp reads the window, because of_warp
// differs between warps.
template <class Traits>
TW_DEVICE BlockWindow read_blocks(const Head& head, const core::BlockMask& blocks, int32 first) {
  constexpr int32 kKeysOfWindow = kTilesOfWindow * Traits::kKeys;
  const int32 begin = first / kKeysOfWindow * kKeysOfWindow;
  const int32 key = begin + lane_index() * Traits::kKeys;
  const auto length = static_cast<int32>(head.keys.length);
  const auto place = [](int32 a, int64 by) {
    return static_cast<int32>(static_cast<uint32>(a) / static_cast<uint32>(by));
  };
  const int32 end = core::smaller(key + Traits::kKeys, length) - 1;
  const int32 first_column = place(key, blocks.columns), last_column = place(end, blocks.columns);
  const int32 first_row = static_cast<int32>(head.rows.begin);
  const int32 row = first_row + warp_index() * Traits::kRowsOfWarp;
  bool of_block = false, of_warp = false;
  if (key < length) {
    const int32 last = place(static_cast<int32>(head.rows.end) - 1, blocks.rows);
    const int32 first_own = place(row, blocks.rows);
    const int32 last_own = place(row + Traits::kRowsOfWarp - 1, blocks.rows);
    TW_ROLLED
    for (int32 i = place(first_row, blocks.rows); i <= last; ++i) {
      TW_ROLLED
      for (int32 j = first_column; j <= last_column; ++j) {
        const bool here = blocks.present[i * blocks.row_stride + j] != 0;
        of_block = of_block || here;
        of_warp = of_warp || (here && first_own <= i && i <= last_own);
      }
    }
  }
  return {begin, warp_ballot(of_block), warp_ballot(of_warp)};
}

// The next tile of the walk. Reads the next window of the block mask when the current one is used
// up.
template <class Traits>
TW_DEVICE Walked next_tile(const Forward& p, typename Traits::Memory& memory, Walked tile) {
  Walked next{tile.first - Traits::kKeys, tile.index + 1, true};
  if constexpr (Traits::kSkipsTiles) {
    if (!score::asks<Traits::kFeatures>(p.scoring, score::kBlocks)) return next;
    BlockWindow& shared = memory.extras.window[warp_index()];
    BlockWindow window = shared;
    while (next.first >= memory.head.first_key) {
      if (next.first < window.first) {
        window = read_blocks<Traits>(memory.head, memory.extras.asked.blocks, next.first);
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
