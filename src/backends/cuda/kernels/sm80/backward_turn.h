// What is known of a turn before it begins. All of it is worked out while products of the turn
// before run, for a warp that waits at a turn's beginning for numbers of shared memory, one after
// the other, has no products to make meanwhile.
#pragma once

#include "backends/cuda/kernels/sm80/backward_order.h"

namespace tilewise::cuda::sm80 {

// A turn whose queries are there.
struct AtHand {
  Turn turn;
  bool exists;
  // Where it is known before: the tile's first query, and what it is to the warp's first patch.
  int32 query;
  Cover cover;
};

// A turn whose queries are loaded next, and from where a thread brings its share.
struct Coming {
  Turn turn;
  bool exists;
  int32 query, rows;                // the tile's first query, and how many there are from it on
  const uint8 *queries, *incoming;  // the thread's first piece; of a general kernel the first row
  const uint8* numbers;             // a piece of what `rows` knows of them, of the first threads
  const uint8* bias;                // the thread's first piece
  const uint8* visible;             // of the boolean mask, the warp's first query and key
};

// Of the warp's keys, with queries from row `row` of a tile on.
template <class Traits>
TW_DEVICE Cover cover_of(const typename Traits::Memory& memory, int32 query, int32 row) {
  return memory.reach[warp_index()].cover(query + row, Traits::kQueriesAtOnce,
                                          static_cast<int32>(memory.block.queries.length));
}

// Whether the mask by blocks has a warp's patch, which lies in one block.
template <class Traits>
TW_DEVICE bool has_patch(const Backward& p, const KeyBlock& block, Turn turn, int32 query) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const Mask& mask = p.scoring.mask;
  const int32 key =
      block.tile * kTiles.keys + warp_index() / kTiles.query_warps * Traits::kKeysOfWarp;
  const core::BlockMask blocks = blocks_of(mask, block.b, block.head(turn.g));
  const int32 row = query / static_cast<int32>(mask.block_query);
  return blocks.present[row * blocks.row_stride + key / static_cast<int32>(mask.block_key)] != 0;
}

template <class Traits>
TW_DEVICE AtHand at_hand(const Backward& p, const typename Traits::Memory& memory, Turn turn) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  if constexpr (!Traits::kKnowsPlaces) return {turn, turn.exists(block), 0, Cover::kNone};
  const int32 query = turn.tile(p, block) * kTiles.queries;
  const int32 row = warp_index() % kTiles.query_warps * Traits::kQueriesAtOnce;
  AtHand now{turn, turn.exists(block), query, cover_of<Traits>(memory, query, row)};
  if constexpr (Traits::kSkipsBlocks)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBlocks) && now.exists &&
        now.cover != Cover::kNone && !has_patch<Traits>(p, block, turn, query + row))
      now.cover = Cover::kNone;
  return now;
}

template <class Traits>
TW_DEVICE const uint8* share_of_rows(const Rows& of, const KeyBlock& block, Turn turn,
                                     int32 query) {
  using Load = Loader<typename Traits::QueryTile, Traits::kThreads>;
  const uint8* first = of.at(block.queries.batch, block.head(turn.g), block.queries.first + query);
  if constexpr (Traits::kIsGeneral) return first;
  const auto share = Load::share_of(thread_index_anew());
  return first + (share.row * of.row + share.bytes_before());
}

// The thread's first piece of the bias of a tile.
template <class Traits>
TW_DEVICE const uint8* share_of_bias(const Tensor& bias, const KeyBlock& block, Turn turn,
                                     int32 query) {
  using Load = Loader<typename Traits::BiasTile, Traits::kThreads>;
  const auto share = Load::share_of(thread_index_anew());
  const int64 first =
      bias.offset(block.b, block.head(turn.g), query, block.tile * Traits::kTiles.keys);
  return place_in(bias, first) + (share.row * bias.stride.row * 2 + share.bytes_before());
}

// The warp's first byte of the boolean mask of a tile.
template <class Traits>
TW_DEVICE const uint8* warp_of_mask(const Tensor& visible, const KeyBlock& block, Turn turn,
                                    int32 query) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const int32 warp = thread_index_anew() / kWarp;
  const int32 row = warp % kTiles.query_warps * Traits::kQueriesOfWarp;
  const int32 key = block.tile * kTiles.keys + warp / kTiles.query_warps * Traits::kKeysOfWarp;
  return visible.data + visible.offset(block.b, block.head(turn.g), query + row, key);
}

template <class Traits>
TW_DEVICE Coming coming(const Backward& p, const typename Traits::Memory& memory, Turn turn) {
  constexpr int32 kQueries = Traits::kTiles.queries, kPieces = kQueries / 4;
  const KeyBlock& block = memory.block;
  const int32 query = turn.tile(p, block) * kQueries, thread = thread_index_anew();
  const int64 row = block.padded(p.between, block.head(turn.g), query);
  const float* of_rows = thread < kPieces ? p.between.lse : p.between.minus_delta;
  const void* numbers = of_rows + (row + thread % kPieces * 4);
  if (thread >= 2 * kPieces) numbers = p.between.tiles + row / kBackwardRows;
  Coming coming{turn,
                turn.exists(block),
                query,
                static_cast<int32>(block.queries.length) - query,
                nullptr,
                nullptr,
                static_cast<const uint8*>(numbers),
                nullptr,
                nullptr};
  if constexpr (!Traits::kKnowsPlaces) return coming;
  coming.queries = share_of_rows<Traits>(p.in.query, block, turn, query);
  if constexpr (Traits::kTiles.incoming_stages == 2)
    coming.incoming = share_of_rows<Traits>(p.in.incoming, block, turn, query);
  if constexpr (Traits::kBringsBias)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBias))
      coming.bias = share_of_bias<Traits>(p.scoring.bias, block, turn, query);
  if constexpr (Traits::kBringsMask)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kVisible))
      coming.visible = warp_of_mask<Traits>(p.scoring.mask.visible, block, turn, query);
  return coming;
}

// What is known of the next turn, and where there are registers for it, of the one behind it.
struct Upcoming {
  AtHand at_hand;
  Coming coming;
};

template <class Traits>
TW_DEVICE Upcoming upcoming(const Backward& p, typename Traits::Memory& memory, Turn next) {
  if constexpr (!Traits::kKnowsPlaces) return {at_hand<Traits>(p, memory, next), {}};
  return {at_hand<Traits>(p, memory, next),
          coming<Traits>(p, memory, after<Traits>(p, memory, next))};
}

// A tile of queries or of arriving gradients.
template <class Traits>
TW_DEVICE void load_share(typename Traits::QueryTile& tile, const Rows& from, const uint8* first,
                          int32 rows) {
  using Load = Loader<typename Traits::QueryTile, Traits::kThreads>;
  if constexpr (Traits::kIsGeneral) return load_tile<Traits>(tile, from, first, rows);
  const auto share = Load::share_of(thread_index_anew());
  Load::load(shared_address(&tile) + share.place(), share, first,
             {first, from.row, from.bytes, rows});
}

// Queries of a turn, and what `rows` knows of them.
template <class Traits>
TW_DEVICE void load_queries(const Backward& p, typename Traits::Memory& memory,
                            const Coming& coming, int32 stage) {
  const uint8* first = coming.queries;
  if constexpr (!Traits::kKnowsPlaces)
    first = share_of_rows<Traits>(p.in.query, memory.block, coming.turn, coming.query);
  load_share<Traits>(memory.query[stage], p.in.query, first, coming.rows);
  constexpr int32 kNumbers = Traits::kTiles.queries / 2 + 1;
  const int32 thread = thread_index_anew();
  if (thread < kNumbers)
    copy_later(shared_address(&memory.rows[stage]) + thread * kPieceBytes, coming.numbers);
}

// A gradient that has one buffer comes in the middle of a turn.
template <class Traits>
TW_DEVICE void load_incoming(const Backward& p, typename Traits::Memory& memory,
                             const Coming& coming, int32 stage) {
  const uint8* first = coming.incoming;
  if constexpr (!Traits::kKnowsPlaces || Traits::kTiles.incoming_stages == 1)
    first = share_of_rows<Traits>(p.in.incoming, memory.block, coming.turn, coming.query);
  load_share<Traits>(memory.incoming[stage], p.in.incoming, first, coming.rows);
}

template <class Traits>
TW_DEVICE void load_bias(const Backward& p, typename Traits::Memory& memory, const Coming& coming,
                         int32 stage) {
  using Load = Loader<typename Traits::BiasTile, Traits::kThreads>;
  const KeyBlock& block = memory.block;
  const auto share = Load::share_of(thread_index_anew());
  const int64 row = p.scoring.bias.stride.row * 2;
  const auto keys = static_cast<int32>(block.columns.size());
  Load::load(shared_address(&memory.bias.at[stage]) + share.place(), share, coming.bias,
             {coming.bias, row, keys * 2, coming.rows});
}

// The warp's part of the boolean mask for a turn.
template <class Traits>
TW_DEVICE void load_mask(const Backward& p, typename Traits::Memory& memory, const Coming& coming,
                         int32 stage) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  const auto thread = static_cast<uint32>(thread_index_anew());
  const auto lane = static_cast<int32>(thread % kWarp), warp = static_cast<int32>(thread / kWarp);
  const int32 row = warp % kTiles.query_warps * Traits::kQueriesOfWarp;
  const int32 key = warp / kTiles.query_warps * Traits::kKeysOfWarp;
  const uint8* first = coming.visible;
  if constexpr (!Traits::kKnowsPlaces)
    first = warp_of_mask<Traits>(p.scoring.mask.visible, block, coming.turn, coming.query);
  memory.visible.at[stage % Traits::kMaskStages * Traits::kWarps + warp].copy(
      {first, p.scoring.mask.visible.stride.row, 1, coming.rows - row,
       static_cast<int32>(block.columns.size()) - key},
      lane);
}

// Queries, gradients, bias and mask of a turn; a gradient that has one buffer comes later.
template <class Traits>
TW_DEVICE void load_turn(const Backward& p, typename Traits::Memory& memory, const Coming& coming,
                         int32 stage) {
  load_queries<Traits>(p, memory, coming, stage);
  if constexpr (Traits::kTiles.incoming_stages == 2)
    load_incoming<Traits>(p, memory, coming, stage);
  if constexpr (Traits::kBringsBias)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBias))
      load_bias<Traits>(p, memory, coming, stage);
  if constexpr (Traits::kBringsMask)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kVisible))
      load_mask<Traits>(p, memory, coming, stage);
}

}  // namespace tilewise::cuda::sm80
