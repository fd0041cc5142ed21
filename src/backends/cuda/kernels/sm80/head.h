// What all threads of a block need to know about their tile of queries. It is kept in shared
// memory, because registers are scarce.
#pragma once

#include "backends/cuda/kernels/band.h"
#include "backends/cuda/kernels/place.h"
#include "backends/cuda/kernels/score/dropout.h"
#include "backends/cuda/kernels/score/shape.h"
#include "backends/cuda/kernels/sm80/launch.h"

namespace tilewise::cuda::sm80 {

using core::Range;

// The keys that the band shows to at least one row of a warp (begin, end), and to all its rows
// (whole_begin, whole_end). The first and the last row determine both, because the ends of the band
// never move back from one row to the next. Tiles of keys in the first range but not in the second
// need masking.
struct alignas(16) Reach {
  int32 begin, end;
  int32 whole_begin, whole_end;

  TW_DEVICE bool meets(int32 first, int32 keys) const {
    return first < end && begin < first + keys;
  }
  TW_DEVICE bool covers(int32 first, int32 keys) const {
    return whole_begin <= first && first + keys <= whole_end;
  }
};

// One tile of queries of one head. If heads share the tile, row = query * heads_in_tile + head.
struct Head {
  int32 b, h, key_head;
  Place queries, keys;
  const uint8 *key, *value;  // at the first key, if keys are not paged
  core::Band band;
  Range rows;  // of the tile
  // The first key of the first and of the last tile of keys. No tile if last_key < first_key.
  int32 first_key, last_key;
  int32 split;
};

// The query and head of a row of the tile.
struct RowOfHead {
  int32 query, h;
};

TW_DEVICE RowOfHead row_of_head(const Forward& p, const Head& head, int32 i) {
  const int32 row = static_cast<int32>(head.rows.begin) + i;
  if (p.heads_in_tile == 1) return {row, head.h};
  const int32 query = p.prepared.heads_in_tile.divide(row);
  return {query, head.h + (row - query * p.heads_in_tile)};
}

// The block's data for features. A member is set only if the call asks for its feature.
struct Asked {
  core::BlockMask blocks;
  score::Drawing drawing;
  float slope;  // of ALiBi, in units of log2
  // The addresses of bias and mask at the tile's first query and key 0, if copied in pieces.
  const uint8 *bias, *visible;
};

// A window of 32 consecutive tiles of keys under a block mask, from key `first` on. A bit is set if
// the mask lets some row of the thread block (of_block) or of the warp (of_warp) see some of the
// tile.
struct BlockWindow {
  int32 first;
  uint32 of_block, of_warp;
};

// What a block works on: tile `tile` of queries of a head, and a split of its keys.
struct Work {
  int32 tile, h, b, split;
};

// Decodes a block's index. Heads are launched in bunches of p.heads_together. The last tile of each
// head in a bunch comes first: under a causal mask it takes longest.
TW_DEVICE Work work_at(const Forward& p, int32 task) {
  const Prepared& by = p.prepared;
  const int32 place = by.splits.divide(task), split = task - place * p.splits.count;
  const int32 first = by.tiles_together.divide(place) * p.heads_together;
  const int32 within = place - first * by.tiles;
  // The last bunch may have fewer heads.
  const int32 together = core::smaller(p.heads_together, by.all_heads - first);
  const int32 from_last =
      together == p.heads_together ? by.heads_together.divide(within) : within / together;
  const int32 head = first + within - from_last * together, b = by.heads.divide(head);
  return {by.tiles - 1 - from_last, (head - b * by.heads.by) * p.heads_in_tile, b, split};
}

// The queries of a range of rows, which must not be empty.
TW_DEVICE Range queries_of(const Forward& p, Range rows) {
  const auto begin = static_cast<int32>(rows.begin), last = static_cast<int32>(rows.end - 1);
  const Divisor& heads = p.prepared.heads_in_tile;
  return {heads.divide(begin), heads.divide(last) + 1};
}

// What the rows of warp `warp` see; each warp has `rows_of_warp` of the tile's rows.
TW_DEVICE Reach reach_of(const Forward& p, const Head& head, int32 rows_of_warp, int32 warp) {
  const int64 first = head.rows.begin + warp * rows_of_warp;
  const Range rows{first, core::smaller(first + rows_of_warp, head.rows.end)};
  // If the batch row does not exist, its keys are hidden.
  if (rows.empty() || head.keys.batch < 0) return {};
  const auto seen_by = [&](int64 query) -> Range {
    if (p.prepared.sees_all) return {0, head.keys.length};
    return head.band.visible_keys(query);
  };
  const Range queries = queries_of(p, rows);
  const Range of_first = seen_by(queries.begin), of_last = seen_by(queries.end - 1);
  return {static_cast<int32>(of_first.begin), static_cast<int32>(of_last.end),
          static_cast<int32>(of_last.begin), static_cast<int32>(of_first.end)};
}

// Sets the range of tiles of keys for the block's split.
TW_DEVICE void set_tiles(const Forward& p, const Size& size, Range seen, Head& head) {
  const uint32 keys = static_cast<uint32>(size.keys);
  const int32 begin = static_cast<int32>(static_cast<uint32>(seen.begin) / keys);
  const int32 end = static_cast<int32>((static_cast<uint32>(seen.end) + keys - 1) / keys);
  const int32 tiles = seen.empty() ? 0 : end - begin;
  const int32 tiles_of_split = p.prepared.splits.divide(tiles + p.splits.count - 1);
  const int32 first = begin + head.split * tiles_of_split;
  const int32 last = seen.empty() ? first : core::smaller(first + tiles_of_split, end);
  head.first_key = first * size.keys;
  head.last_key = (last - 1) * size.keys;
}

// Where sequence b is on one side.
TW_DEVICE Place find_place(const Forward& p, const Side& side, int64 b, uint32& faults) {
  if (p.prepared.is_dense) return {b, b, 0, side.rows};
  return place_of(side, b, faults);
}

// The range from the first to the last key that some of the tile's queries sees, by the band.
TW_DEVICE Range seen_keys(const Forward& p, const Head& head) {
  if (head.rows.empty() || head.keys.batch < 0) return {};
  if (p.prepared.sees_all) return {0, head.keys.length};
  return head.band.keys_of(queries_of(p, head.rows));
}

// Called by all threads, which compute the same.
TW_DEVICE void set_head(const Forward& p, const Size& size, Head& head) {
  const Work work = work_at(p, static_cast<int32>(block_index()));
  uint32 faults = 0;
  head.b = work.b;
  head.h = work.h;
  head.split = work.split;
  head.key_head = p.prepared.group.divide(work.h);
  head.queries = find_place(p, p.queries, work.b, faults);
  head.keys = find_place(p, p.keys, work.b, faults);
  head.key = p.key.at(head.keys.batch, head.key_head, head.keys.first);
  head.value = p.value.at(head.keys.batch, head.key_head, head.keys.first);
  head.band = band_of(p.scoring.mask, head.queries.length, head.keys.length);
  head.rows = tile_range(work.tile, size.rows, head.queries.length * p.heads_in_tile);
  set_tiles(p, size, seen_keys(p, head), head);
  if (thread_index() == 0) report(p.error, faults);
}

// Called by one thread. `features` is the set that the kernel is compiled for.
template <uint32 features>
TW_DEVICE void set_asked(const score::Scoring& p, const Head& head, Asked& asked) {
  const Tensor &blocks = p.mask.blocks, &slopes = p.slopes;
  if (score::asks<features>(p, score::kBlocks))
    asked.blocks = {.present = blocks.data + blocks.offset(head.b, head.h, 0, 0),
                    .row_stride = blocks.stride.row,
                    .rows = core::smaller(p.mask.block_query, kMostLength),
                    .columns = core::smaller(p.mask.block_key, kMostLength)};
  const Tensor &bias = p.bias, &visible = p.mask.visible;
  const int64 row = head.rows.begin;
  if (score::asks<features>(p, score::kBiasPieces))
    asked.bias = place_in(bias, bias.offset(head.b, head.h, row, 0));
  if (score::asks<features>(p, score::kVisiblePieces))
    asked.visible = visible.data + visible.offset(head.b, head.h, row, 0);
  if (score::asks<features>(p, score::kDropout))
    asked.drawing = score::drawing_of(p.dropout, head.b, head.h);
  if (score::asks<features>(p, score::kAlibi))
    asked.slope =
        score::slope_in_log2(load_wide<float>(slopes, slopes.offset(head.b, head.h, 0, 0)));
}

}  // namespace tilewise::cuda::sm80
