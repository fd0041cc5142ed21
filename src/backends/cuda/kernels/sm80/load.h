// What comes to shared memory: tiles of queries, keys and values, and of what features ask for.
#pragma once

#include "backends/cuda/kernels/sm80/traits.h"

namespace tilewise::cuda::sm80 {

// Of two things for two tiles of keys, in turn.
template <class Traits>
TW_DEVICE int32 turn_of(int32 first) {
  return static_cast<int32>(static_cast<uint32>(first) / Traits::kKeys % 2);
}

// Which of the buffers holds the tile of keys that begins at `first`.
template <class Traits>
TW_DEVICE int32 stage_of(int32 first) {
  if (Traits::kStages == 1 || wounded(core::Wound::kStageNotTurned)) return 0;
  return turn_of<Traits>(first);
}

template <class Traits>
TW_DEVICE void load_query(const Forward& p, typename Traits::Memory& memory) {
  using From = Loader<typename Traits::QueryTile, kThreads>;
  const Head& head = memory.head;
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

// Where the keys of a tile lie, of a cache of pages: one a thread.
template <class Traits>
TW_DEVICE void look_up(const Forward& p, typename Traits::Memory& memory, int32 first) {
  if constexpr (Traits::kIsGeneral) {
    const int32 i = thread_index();
    if (!p.keys.paged() || first < memory.head.first_key || i >= Traits::kKeys) return;
    const Place& keys = memory.head.keys;
    KeySpot& to = memory.extras.spots[turn_of<Traits>(first)][i];
    to = {kNoKey, 0};
    if (first + i >= keys.length) return;
    uint32 faults = 0;
    const Spot spot = spot_of(p.keys, keys, first + i, faults);
    to = {spot.batch < 0 ? kNoPage : static_cast<int32>(spot.batch), static_cast<int32>(spot.row)};
    report(p.error, faults);
  }
}

// Keys, or values: the tile that begins at key `first`.
template <class Traits>
TW_DEVICE void load_side(const Forward& p, const typename Traits::Memory& memory, const Rows& from,
                         const uint8* dense, typename Traits::KeyTile& tile, int32 first) {
  using To = Loader<typename Traits::KeyTile, kThreads>;
  const Head& head = memory.head;
  const int32 left = static_cast<int32>(head.keys.length) - first;
  if constexpr (Traits::kIsGeneral) {
    const auto row_at = [&](int32 i) -> const uint8* {
      if (!p.keys.paged()) return i < left ? dense + (first + i) * from.row : nullptr;
      const KeySpot spot = memory.extras.spots[turn_of<Traits>(first)][i];
      return spot.page < 0 ? nullptr : from.at(spot.page, head.key_head, spot.row);
    };
    if (!from.in_pieces) return To::load_elements(tile.bytes, from.bytes, row_at);
    if (p.keys.paged()) return To::load_rows(shared_address(&tile), from.bytes, row_at);
  }
  To::load(shared_address(&tile), {dense + first * from.row, from.row, from.bytes, left});
}

template <class Traits>
TW_DEVICE void load_value(const Forward& p, typename Traits::Memory& memory, int32 first) {
  load_side<Traits>(p, memory, p.value, memory.head.value, memory.value[stage_of<Traits>(first)],
                    first);
}

// The warp's part of the boolean mask for a tile of keys.
template <class Traits>
TW_DEVICE score::VisibleSource visible_of(const score::Scoring& p, const Head& head, int32 first) {
  const Tensor& visible = p.mask.visible;
  const int64 row = head.rows.begin + warp_index() * Traits::kRowsOfWarp;
  return {visible.data + visible.offset(head.b, head.h, row, first), visible.stride.row,
          visible.stride.column, static_cast<int32>(head.rows.end - row),
          static_cast<int32>(head.keys.length) - first};
}

// The bias, from the tile's first query and the key `first` on.
template <class Traits>
TW_DEVICE Source bias_of(const score::Scoring& p, const Head& head, int32 first) {
  const Tensor& bias = p.bias;
  const int64 element = bias.offset(head.b, head.h, head.rows.begin, first);
  const int32 keys = core::smaller(static_cast<int32>(head.keys.length) - first, Traits::kKeys);
  return {place_in(bias, element), bias.stride.row * 2, keys * 2,
          static_cast<int32>(head.rows.size())};
}

// Keys of a tile, and what features ask for beside them.
template <class Traits>
TW_DEVICE void load_key(const Forward& p, typename Traits::Memory& memory, int32 first) {
  load_side<Traits>(p, memory, p.key, memory.head.key, memory.key[stage_of<Traits>(first)], first);
  if constexpr (Traits::kIsGeneral) {
    using Extras = decltype(memory.extras);
    constexpr uint32 kFeatures = Traits::kFeatures;
    if (score::asks<kFeatures>(p.scoring, score::kBiasPieces))
      Loader<typename Extras::BiasTile, kThreads>::load(
          shared_address(&memory.extras.bias), bias_of<Traits>(p.scoring, memory.head, first));
    if (score::asks<kFeatures>(p.scoring, score::kVisiblePieces))
      memory.extras.visible[warp_index()].copy(visible_of<Traits>(p.scoring, memory.head, first),
                                               lane_index());
  }
}

}  // namespace tilewise::cuda::sm80
