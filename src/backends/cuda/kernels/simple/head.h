// What all threads of a block need to know of their tile of queries. It lies in shared memory:
// registers are scarce.
#pragma once

#include "backends/cuda/kernels/band.h"
#include "backends/cuda/kernels/place.h"
#include "backends/cuda/kernels/simple/launch.h"

namespace tilewise::cuda::simple {

using core::Range;

inline constexpr int32 kWarps = kThreads / kWarp;
inline constexpr int32 kRowsOfWarp = kRows / kWarps;

// Keys that some row of a warp sees, and those that all of them see: what its first and its last
// row see say both, as for core's band. Tiles between the two are masked.
struct alignas(16) Reach {
  int32 begin, end;
  int32 whole_begin, whole_end;

  TW_DEVICE bool meets(int32 first) const { return first < end && begin < first + kKeys; }
  TW_DEVICE bool covers(int32 first) const {
    return whole_begin <= first && first + kKeys <= whole_end;
  }
};

struct Head {
  int32 b, h, key_head;
  Place queries, keys;
  const uint8 *key, *value;  // of the first key
  core::Band band;
  Range rows;                 // of the tile
  int32 first_key, last_key;  // where tiles of keys begin; the last below the first: there is none
  Reach reach[kWarps];
};

// Tile `tile` of queries of a head.
struct Work {
  int32 tile, h, b;
};

// Tiles of heads that go together follow each other, the last tile of each head first: under a
// causal mask those have more to do.
TW_DEVICE Work work_at(const Forward& p, int32 task) {
  const auto tiles = static_cast<int32>(query_tiles(p.shape));
  const auto heads = static_cast<int32>(p.shape.heads);
  const int32 all = static_cast<int32>(p.shape.batch) * heads;
  const int32 first = task / (p.heads_together * tiles) * p.heads_together;
  const int32 within = task - first * tiles;
  const int32 together = core::smaller(p.heads_together, all - first);
  const int32 head = first + within % together;
  return {tiles - 1 - within / together, head % heads, head / heads};
}

// Of the sums that a thread has (product.h), the first one's place: a row of the tile of queries,
// and a column of the warp's sums.
TW_DEVICE int32 first_row_of(int32 thread) {
  const auto unsigned_thread = static_cast<uint32>(thread);
  return static_cast<int32>(unsigned_thread / kWarp * kRowsOfWarp + unsigned_thread % kWarp / 4);
}

TW_DEVICE int32 first_column_of(int32 thread) {
  return (thread & 3) * 2;
}

// Of the rows that a warp has.
TW_DEVICE Reach reach_of(const Head& head, int32 usual_warp) {
  const int32 warp = wounded(core::Wound::kReachOfFirstWarp) ? 0 : usual_warp;
  const int64 first = head.rows.begin + warp * kRowsOfWarp;
  const Range rows{first, core::smaller(first + kRowsOfWarp, head.rows.end)};
  // Keys of a row of the batch that does not exist are seen by nobody.
  if (rows.empty() || head.keys.batch < 0) return {};
  const Range of_first = head.band.visible_keys(rows.begin);
  const Range of_last = head.band.visible_keys(rows.end - 1);
  int64 whole_end = of_first.end;
  if (wounded(core::Wound::kTailNotMasked) && whole_end == head.keys.length)
    whole_end = core::round_up(whole_end, kKeys);
  return {static_cast<int32>(of_first.begin), static_cast<int32>(of_last.end),
          static_cast<int32>(of_last.begin), static_cast<int32>(whole_end)};
}

// By all threads of the block; ends with a barrier.
TW_DEVICE void enter(const Forward& p, Head& head) {
  if (thread_index() == 0) {
    const Work work = work_at(p, static_cast<int32>(block_index()));
    uint32 faults = 0;
    head.b = work.b;
    head.h = work.h;
    head.key_head = work.h / static_cast<int32>(p.shape.heads / p.shape.key_heads);
    head.queries = place_of(p.queries, work.b, faults);
    head.keys = place_of(p.keys, work.b, faults);
    head.key = p.key.at(head.keys.batch, head.key_head, head.keys.first);
    head.value = p.value.at(head.keys.batch, head.key_head, head.keys.first);
    head.band = band_of(p.mask, head.queries.length, head.keys.length);
    head.rows = tile_range(work.tile, kRows, head.queries.length);
    const bool sees = !head.rows.empty() && head.keys.batch >= 0;
    const Range seen = sees ? head.band.keys_of(head.rows) : Range{};
    head.first_key = static_cast<int32>(seen.begin / kKeys * kKeys);
    head.last_key =
        seen.empty() ? head.first_key - kKeys : static_cast<int32>((seen.end - 1) / kKeys * kKeys);
    report(p.error, faults);
  }
  block_barrier();
  if (lane_index() == 0) head.reach[warp_index()] = reach_of(head, warp_index());
  block_barrier();
}

}  // namespace tilewise::cuda::simple
