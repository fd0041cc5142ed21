// Copies to shared memory: tiles of queries, keys and values, and what features need with them.
#pragma once

#include "backends/cuda/kernels/sm80/traits.h"

namespace tilewise::cuda::sm80 {

// One step of the walk: the tile's first key, the number of tiles walked before, and whether the
// block mask leaves some of the tile visible to this warp's rows.
struct Walked {
  int32 first, index;
  bool is_present;
};

// The number whose parity selects a tile's stage. In kernels without block masks no tile is
// skipped, and the number is derived from the tile's position, which saves a register.
template <class Traits>
TW_DEVICE int32 tile_index(Walked tile) {
  if (Traits::kIsGeneral || Traits::kSkipsTiles) return tile.index;
  return static_cast<int32>(static_cast<uint32>(tile.first) / Traits::kKeys);
}

// The buffer of the tile.
template <class Traits>
TW_DEVICE int32 stage_of(Walked tile) {
  if (Traits::kStages == 1) return 0;
  return tile_index<Traits>(tile) % 2;
}

template <class Traits>
TW_DEVICE void load_query(const Forward& p, const Head& head, typename Traits::Memory& memory) {
  using From = Loader<typename Traits::QueryTile, Traits::kThreads>;
  const auto rows = static_cast<int32>(head.rows.size());
  const SharedAddress tile = shared_address(&memory.query);
  const auto row_at = [&](int32 i) -> const uint8* {
    if (i >= rows) return nullptr;
    const RowOfHead at = row_of_head(p, head, i);
    return p.query.at(head.queries.batch, at.h, head.queries.first + at.query);
  };
  if constexpr (Traits::kIsGeneral) {
    if (!p.query.in_pieces) return From::load_elements(memory.query.bytes, p.query.bytes, row_at);
  }
  if (p.heads_in_tile > 1) return From::load_rows(tile, p.query.bytes, row_at);
  const uint8* first = p.query.at(head.queries.batch, head.h, head.queries.first + head.rows.begin);
  From::load(tile, {first, p.query.row, p.query.bytes, rows});
}

// Looks up the pages of a tile of keys, one key per thread.
template <class Traits>
TW_DEVICE void look_up_pages(const Forward& p, typename Traits::Memory& memory, Walked tile) {
  if constexpr (Traits::kIsGeneral) {
    const int32 i = thread_index(), first = tile.first;
    static_assert(Traits::kThreads >= Traits::kKeys);
    if (!p.keys.paged() || first < memory.head.first_key || i >= Traits::kKeys) return;
    const Place& keys = memory.head.keys;
    KeySpot& to = memory.extras.spots[tile.index % 4][i];
    to = {kNoKey, 0};
    if (first + i >= keys.length) return;
    uint32 faults = 0;
    const Spot spot = spot_of(p.keys, keys, first + i, faults);
    to = {spot.batch < 0 ? kNoPage : static_cast<int32>(spot.batch), static_cast<int32>(spot.row)};
    report(p.error, faults);
  }
}

// A thread's share of loading tiles of keys and values that are not paged.
template <class Traits>
struct KeyShare {
  using To = Loader<typename Traits::KeyTile, Traits::kThreads>;
  typename To::Share share;
  int32 keys;                // keys in the sequence
  const uint8 *key, *value;  // the thread's piece of the first row
  SharedAddress to;          // its place in the first tile of keys
};

template <class Traits>
TW_DEVICE KeyShare<Traits> key_share(const Head& head, const typename Traits::Memory& memory,
                                     int32 thread) {
  const auto share = KeyShare<Traits>::To::share_of(thread);
  return {share, static_cast<int32>(head.keys.length), head.key + share.bytes_before(),
          head.value + share.bytes_before(), shared_address(&memory.key[0]) + share.place()};
}

// Keys or values: their rows, the thread's piece of the first row, and the index in Memory::key of
// the tile to fill.
struct KeySide {
  const Rows& rows;
  const uint8* piece;
  int32 tile;
};

template <class Traits>
TW_DEVICE void load_side(const Forward& p, typename Traits::Memory& memory, Walked walked,
                         const KeyShare<Traits>& mine, const KeySide& side) {
  using To = typename KeyShare<Traits>::To;
  const Rows& from = side.rows;
  const int32 first = walked.first, left = mine.keys - first;
  if constexpr (Traits::kIsGeneral) {
    const Head& head = memory.head;
    const uint8* dense = side.piece - mine.share.bytes_before();
    auto& tile = memory.key[side.tile];
    const auto row_at = [&](int32 i) -> const uint8* {
      if (!p.keys.paged()) return i < left ? dense + (first + i) * from.row : nullptr;
      const KeySpot spot = memory.extras.spots[walked.index % 4][i];
      return spot.page < 0 ? nullptr : from.at(spot.page, head.key_head, spot.row);
    };
    if (!from.in_pieces) return To::load_elements(tile.bytes, from.bytes, row_at);
    if (p.keys.paged()) return To::load_rows(shared_address(&tile), from.bytes, row_at);
  }
  const auto stride = static_cast<int32>(from.row);
  const uint8* at = side.piece + wide_product(first + mine.share.row, stride);
  To::load(mine.to + side.tile * Traits::KeyTile::kBytes, mine.share, at,
           {nullptr, stride, from.bytes, left});
}

template <class Traits>
TW_DEVICE void load_value(const Forward& p, typename Traits::Memory& memory, Walked walked,
                          const KeyShare<Traits>& mine) {
  load_side<Traits>(p, memory, walked, mine,
                    {p.value, mine.value, Traits::kStages + stage_of<Traits>(walked)});
}

// The warp's part of the boolean mask for the tile of keys at `first`. `row` is the mask's address
// at the warp's first row and key 0.
template <class Traits>
TW_DEVICE score::VisibleSource visible_from(const score::Scoring& p, const Head& head,
                                            const uint8* row, int32 first) {
  const int32 before = warp_index() * Traits::kRowsOfWarp;
  const auto& stride = p.mask.visible.stride;
  return {row + first * stride.column, stride.row, stride.column,
          static_cast<int32>(head.rows.end - head.rows.begin) - before,
          static_cast<int32>(head.keys.length) - first};
}

// visible_from with the row's address computed here, for a mask that is not copied in pieces.
template <class Traits>
TW_DEVICE score::VisibleSource visible_of(const score::Scoring& p, const Head& head, int32 first) {
  const Tensor& visible = p.mask.visible;
  const int64 row = head.rows.begin + warp_index() * Traits::kRowsOfWarp;
  return visible_from<Traits>(p, head, visible.data + visible.offset(head.b, head.h, row, 0),
                              first);
}

// load_bias starts the copy of a bias tile, load_visible that of the warp's part of the boolean
// mask, if they can be copied in pieces.
template <class Traits, class BiasTile>
TW_DEVICE void load_bias(const Forward& p, typename Traits::Memory& memory, const BiasTile& to,
                         int32 first) {
  if (!score::asks<Traits::kFeatures>(p.scoring, score::kBiasPieces)) return;
  const Head& head = memory.head;
  const int32 keys = core::smaller(static_cast<int32>(head.keys.length) - first, Traits::kKeys);
  const auto stride = static_cast<int32>(p.scoring.bias.stride.row) * 2;
  Loader<BiasTile, Traits::kThreads>::load(shared_address(&to),
                                           {memory.extras.asked.bias + first * 2, stride, keys * 2,
                                            static_cast<int32>(head.rows.size())});
}
template <class Traits, class Visible>
TW_DEVICE void load_visible(const Forward& p, typename Traits::Memory& memory, Visible& to,
                            int32 first) {
  if (!score::asks<Traits::kFeatures>(p.scoring, score::kVisiblePieces)) return;
  const int64 before = wide_product(warp_index() * Traits::kRowsOfWarp,
                                    static_cast<int32>(p.scoring.mask.visible.stride.row));
  to.copy(visible_from<Traits>(p.scoring, memory.head, memory.extras.asked.visible + before, first),
          lane_index());
}

// Starts the copies that features need with a tile of keys.
template <class Traits>
TW_DEVICE void load_feature_data(const Forward& p, typename Traits::Memory& memory, Walked walked) {
  const int32 stage = stage_of<Traits>(walked), first = walked.first;
  if constexpr (Traits::kIsGeneral) {
    auto& buffers = memory.extras.stage[stage];
    load_bias<Traits>(p, memory, buffers.bias, first);
    load_visible<Traits>(p, memory, buffers.visible[warp_index()], first);
  }
  if constexpr (Traits::kIsFeatured && (Traits::kFeatures & score::kBias) != 0)
    load_bias<Traits>(p, memory, memory.extras.bias.at[stage], first);
  if constexpr (Traits::kIsFeatured && (Traits::kFeatures & score::kVisible) != 0)
    load_visible<Traits>(p, memory, memory.extras.visible.at[warp_index()], first);
}

// Starts the copies of a tile of keys, and of what features need with it.
template <class Traits>
TW_DEVICE void load_key(const Forward& p, typename Traits::Memory& memory, Walked walked,
                        const KeyShare<Traits>& mine) {
  load_side<Traits>(p, memory, walked, mine, {p.key, mine.key, stage_of<Traits>(walked)});
  load_feature_data<Traits>(p, memory, walked);
}

}  // namespace tilewise::cuda::sm80
