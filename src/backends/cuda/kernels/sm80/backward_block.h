// What a block's threads need to know about its keys, and about the tiles of queries that it
// visits. It is kept in shared memory, because registers are scarce.
#pragma once

#include "backends/cuda/kernels/band.h"
#include "backends/cuda/kernels/place.h"
#include "backends/cuda/kernels/score/dropout.h"
#include "backends/cuda/kernels/sm80/backward_launch.h"

namespace tilewise::cuda::sm80 {

using core::Cover;
using core::Range;

// The workspace row of a sequence's row 0, a multiple of kBackwardRows. In a packed batch each
// earlier sequence adds one tile (+ b), because its last tile may be only partly filled.
TW_DEVICE int64 padded_first(const Side& queries, const Place& place, int64 b, int64 longest) {
  if (queries.packed()) return (place.first / kBackwardRows + b) * kBackwardRows;
  return b * core::round_up(longest, kBackwardRows);
}

// The pairs of query and key tiles for which the band may leave scores visible. query_tiles and
// key_tiles apply the same condition, so key_tiles gives exactly the blocks that visit a tile of
// queries. turn_of relies on that: a block's turn is its place among these blocks.
struct BandTiles {
  core::Band band;

  TW_DEVICE bool is_empty() const { return -band.left > band.right; }

  // Where the chunk of a position begins. Without chunks, one unlimited chunk holds all positions.
  TW_DEVICE int64 chunk_begin(int64 position) const {
    return band.chunk > 0 ? core::floor_div(position, band.chunk) * band.chunk : -core::kUnlimited;
  }
  TW_DEVICE int64 chunk_end(int64 position) const {
    return band.chunk > 0 ? chunk_begin(position) + band.chunk : core::kUnlimited;
  }

  // The tiles of `size` queries that may see some of `keys`.
  TW_DEVICE Range query_tiles(Range keys, int64 size) const {
    const int64 last = keys.end - 1;
    const int64 first = core::larger(keys.begin - band.right, chunk_begin(keys.begin));
    const int64 end = core::smaller(last + band.left + 1, chunk_end(last));
    return tiles(first - band.diagonal, end - band.diagonal, band.queries, size);
  }

  // The tiles of `size` keys of which some may be visible to `rows`.
  TW_DEVICE Range key_tiles(Range rows, int64 size) const {
    const int64 begin = rows.begin + band.diagonal, last = rows.end - 1 + band.diagonal;
    const int64 first = core::larger(begin - band.left, chunk_begin(begin));
    const int64 end = core::smaller(last + band.right + 1, chunk_end(last));
    return tiles(first, end, band.keys, size);
  }

 private:
  TW_DEVICE Range tiles(int64 first, int64 end, int64 length, int64 size) const {
    if (is_empty() || first >= length || end <= 0) return {};
    return {core::larger(first, int64{0}) / size, core::ceil_div(core::smaller(end, length), size)};
  }
};

// The queries that see some key of a warp, and those that see all its keys (whole_*). Both follow
// from the queries that see the warp's first and last key.
struct alignas(16) QueryReach {
  int32 begin, end;
  int32 whole_begin, whole_end;

  // How much of the warp's keys `count` queries see, from `first` on, in a sequence of `length`.
  TW_DEVICE Cover cover(int32 first, int32 count, int32 length) const {
    const int32 last = core::smaller(first + count, length);
    // Without branches, so that the compiler can interleave this with mma instructions.
    const bool meets = static_cast<int32>(first < end) & static_cast<int32>(begin < last);
    const bool is_whole =
        static_cast<int32>(whole_begin <= first) & static_cast<int32>(last <= whole_end);
    return !meets ? Cover::kNone : is_whole ? Cover::kAll : Cover::kSome;
  }
};

// A block's tile of keys, and the tiles of queries that it visits.
struct KeyBlock {
  int32 b, key_head, tile;
  int32 heads;  // query heads that share the key head
  Place queries, keys;
  Range columns;  // the block's keys
  core::Band band;
  score::Drawing drawing;   // dropout's state for the first head of the group
  int32 first_tile, tiles;  // the tiles of queries to visit, for each head
  int32 rotation;           // which of a head's tiles is visited first; the order wraps around
  int64 first_row;          // the workspace row of the sequence's row 0
  int32* turn_counter;      // for thread 0: the counter to raise when the turn ends, or null

  TW_DEVICE int32 head(int32 g) const { return key_head * heads + g; }

  // The workspace row of row `row` of the sequence, for query head `h`.
  TW_DEVICE int64 padded(const Workspace& p, int64 h, int64 row) const {
    return h * p.padded_rows + first_row + row;
  }
};

// Whether blocks add in turns. If so, they visit their tiles of queries from the last to the first.
TW_DEVICE bool takes_turns(const Backward& p) {
  return p.workspace.turns != nullptr;
}

// The n-th tile of queries that a block visits for the g-th query head of its group.
struct Visit {
  int32 g, n;

  TW_DEVICE bool exists(const KeyBlock& block) const { return g < block.heads; }

  // The index of the tile of queries.
  TW_DEVICE int32 tile(const Backward& p, const KeyBlock& block) const {
    if (takes_turns(p)) return block.first_tile + block.tiles - 1 - n;
    const int32 rotated = n + block.rotation;
    return block.first_tile + (rotated < block.tiles ? rotated : rotated - block.tiles);
  }
};

// The work of a block: a tile of keys of one key head. Blocks are numbered over the first tiles of
// `heads_together` key heads, then over their second tiles, and so on, because under a causal mask
// a head's first tile has the most work. With turns, a block thus waits only for blocks with a
// lower number. If sequences share a bias (batch_first), the same head of all sequences comes
// together, so that these blocks find the bias in the cache.
struct KeyWork {
  int32 tile, key_head, b;
};

TW_DEVICE KeyWork key_work_at(const Backward& p, int32 tiles, int32 task) {
  const auto heads = static_cast<int32>(p.shape.key_heads);
  const int32 all = static_cast<int32>(p.shape.batch) * heads;
  const int32 first = task / (p.plan.heads_together * tiles) * p.plan.heads_together;
  const int32 within = task - first * tiles;
  const int32 together = core::smaller(p.plan.heads_together, all - first);
  const int32 head = first + within % together;
  if (p.plan.batch_first) {
    const auto batch = static_cast<int32>(p.shape.batch);
    return {within / together, head / batch, head % batch};
  }
  return {within / together, head % heads, head / heads};
}

// The block mask of one head.
TW_DEVICE core::BlockMask blocks_of(const Mask& mask, int64 b, int64 h) {
  const Tensor& blocks = mask.blocks;
  return {.present = blocks.data + blocks.offset(b, h, 0, 0),
          .row_stride = blocks.stride.row,
          .rows = mask.block_query,
          .columns = mask.block_key};
}

// For which of 32 visits of the group's head g, from visit number `first` on, the block mask leaves
// something visible: a bit for each. Every warp keeps one such window.
struct PresentTiles {
  int32 g, first;
  uint32 tiles;
};

// Fills in `block`. Call it by one thread.
template <class Traits>
TW_DEVICE void find_block(const Backward& p, KeyBlock& block) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const int32 all = Traits::kIsShort ? 1 : static_cast<int32>(key_tiles(p.shape, kTiles));
  const KeyWork work = key_work_at(p, all, static_cast<int32>(block_index()));
  uint32 faults = 0;
  block.b = work.b;
  block.key_head = work.key_head;
  block.tile = work.tile;
  block.heads = static_cast<int32>(p.shape.heads / p.shape.key_heads);
  block.queries = place_of(p.queries, work.b, faults);
  block.keys = place_of(p.keys, work.b, faults);
  block.band = band_of(p.scoring.mask, block.queries.length, block.keys.length);
  if (score::asks<Traits::kFeatures>(p.scoring, score::kDropout))
    block.drawing = score::drawing_of(p.scoring.dropout, work.b, block.head(0));
  block.first_row = padded_first(p.queries, block.queries, work.b, p.shape.queries);
  block.columns =
      block.keys.batch < 0 ? Range{} : tile_range(work.tile, kTiles.keys, block.keys.length);
  const Range tiles = block.columns.empty()
                          ? Range{}
                          : BandTiles{block.band}.query_tiles(block.columns, kTiles.queries);
  block.first_tile = static_cast<int32>(tiles.begin);
  block.tiles = static_cast<int32>(tiles.size());
  block.turn_counter = nullptr;
  // If heads are not interleaved, the blocks of a head start at different tiles of queries, so that
  // they do not all add to the same rows at once.
  block.rotation = 0;
  if (p.plan.heads_together == 1 && block.tiles > 0)
    block.rotation = work.tile * (kTiles.keys / kTiles.queries) % block.tiles;
  report(p.error, faults);
}

// The reach of the keys of a warp.
template <class Traits>
TW_DEVICE QueryReach reach_of(const KeyBlock& block, int32 key_warp) {
  const int64 first = int64{block.tile} * Traits::kTiles.keys + key_warp * Traits::kKeysOfWarp;
  const Range columns{first, core::smaller(first + Traits::kKeysOfWarp, block.columns.end)};
  if (columns.empty()) return {};
  const bool is_whole = columns.size() == Traits::kKeysOfWarp;
  const Range of_first = block.band.visible_queries(columns.begin);
  const Range of_last = block.band.visible_queries(columns.end - 1);
  return {static_cast<int32>(of_first.begin), static_cast<int32>(of_last.end),
          static_cast<int32>(of_last.begin), is_whole ? static_cast<int32>(of_first.end) : 0};
}

// A padding mask may hide all keys of the block from all queries; then the block visits nothing. It
// must visit if blocks add in turns, because other blocks wait for its turn.
template <class Traits>
TW_DEVICE void skip_hidden_keys(const Backward& p, KeyBlock& block) {
  const Tensor& visible = p.scoring.mask.visible;
  const bool has_one_row =
      visible.stride.row == 0 && (visible.stride.head == 0 || block.heads == 1);
  if (!has_one_row || takes_turns(p) || warp_index() != 0) return;
  const uint8* first =
      visible.data + visible.offset(block.b, block.head(0), 0, block.columns.begin);
  bool is_seen = false;
  for (int32 n = lane_index(); n < block.columns.size(); n += kWarp)
    is_seen |= first[n * visible.stride.column] != 0;
  if (!warp_any(is_seen) && lane_index() == 0) block.tiles = 0;
}

// Fills in what shared memory keeps about the block. Call it by all threads; ends with a barrier.
template <class Traits>
TW_DEVICE void enter(const Backward& p, typename Traits::Memory& memory) {
  if (thread_index() == 0) find_block<Traits>(p, memory.block);
  block_barrier();
  if constexpr (Traits::kIsFeatured)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kVisible))
      skip_hidden_keys<Traits>(p, memory.block);
  if (lane_index() == 0)
    memory.reach[warp_index()] =
        reach_of<Traits>(memory.block, warp_index() / Traits::kTiles.query_warps);
  block_barrier();
}

}  // namespace tilewise::cuda::sm80
