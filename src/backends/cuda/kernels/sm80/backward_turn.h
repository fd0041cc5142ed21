// What is known of a turn before it begins. All of it is worked out while products of the turn
// before run, for a warp that waits at a turn's beginning for numbers of shared memory, one after
// the other, has no products to make meanwhile.
#pragma once

#include "backends/cuda/kernels/sm80/backward_traits.h"

namespace tilewise::cuda::sm80 {

// A turn whose queries are there.
struct AtHand {
  Turn turn;
  bool exists;
  int32 query;  // the tile's first
  Cover cover;  // of the warp's first patch
};

// A turn whose queries are loaded next, and from where a thread brings its share.
struct Coming {
  Turn turn;
  bool exists;
  int32 query, rows;                // the tile's first query, and how many there are from it on
  const uint8 *queries, *incoming;  // the thread's first piece; of a general kernel the first row
  const uint8* numbers;             // a piece of what `rows` knows of them, of the first threads
};

// Of the warp's keys, with queries from row `row` of a tile on.
template <class Traits>
TW_DEVICE Cover cover_of(const typename Traits::Memory& memory, int32 query, int32 row) {
  return memory.reach[warp_index()].cover(query + row, Traits::kQueriesAtOnce,
                                          static_cast<int32>(memory.block.queries.length));
}

template <class Traits>
TW_DEVICE AtHand at_hand(const Backward& p, const typename Traits::Memory& memory, Turn turn) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  const int32 query = turn.tile(p, block) * kTiles.queries;
  const int32 row = warp_index() % kTiles.query_warps * Traits::kQueriesAtOnce;
  return {turn, turn.exists(block), query, cover_of<Traits>(memory, query, row)};
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

template <class Traits>
TW_DEVICE Coming coming(const Backward& p, const typename Traits::Memory& memory, Turn turn) {
  constexpr int32 kQueries = Traits::kTiles.queries, kPieces = kQueries / 4;
  const KeyBlock& block = memory.block;
  const int32 query = turn.tile(p, block) * kQueries, thread = thread_index_anew();
  const int64 row = block.padded(p.between, block.head(turn.g), query);
  const float* of_rows = thread < kPieces ? p.between.lse : p.between.minus_delta;
  const void* numbers = of_rows + (row + thread % kPieces * 4);
  if (thread >= 2 * kPieces) numbers = p.between.some_apart + row / kBackwardRows * 4;
  Coming coming{turn,
                turn.exists(block),
                query,
                static_cast<int32>(block.queries.length) - query,
                share_of_rows<Traits>(p.in.query, block, turn, query),
                nullptr,
                static_cast<const uint8*>(numbers)};
  if constexpr (Traits::kTiles.incoming_stages == 2)
    coming.incoming = share_of_rows<Traits>(p.in.incoming, block, turn, query);
  return coming;
}

// What is known of the next turn, and of the one behind it.
struct Upcoming {
  AtHand at_hand;
  Coming coming;
};

template <class Traits>
TW_DEVICE Upcoming upcoming(const Backward& p, const typename Traits::Memory& memory, Turn next) {
  return {at_hand<Traits>(p, memory, next),
          coming<Traits>(p, memory, after<Traits>(p, memory.block, next))};
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
  load_share<Traits>(memory.query[stage], p.in.query, coming.queries, coming.rows);
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
  if constexpr (Traits::kTiles.incoming_stages == 1)
    first = share_of_rows<Traits>(p.in.incoming, memory.block, coming.turn, coming.query);
  load_share<Traits>(memory.incoming[stage], p.in.incoming, first, coming.rows);
}

// The warp's part of the boolean mask for a turn, in place of what it has packed.
template <class Traits>
TW_DEVICE void load_mask(const Backward& p, typename Traits::Memory& memory, const Coming& coming) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  const Tensor& visible = p.scoring.mask.visible;
  const auto thread = static_cast<uint32>(thread_index_anew());
  const auto lane = static_cast<int32>(thread % kWarp), warp = static_cast<int32>(thread / kWarp);
  const int32 row = warp % kTiles.query_warps * Traits::kQueriesOfWarp;
  const int32 key = block.tile * kTiles.keys + warp / kTiles.query_warps * Traits::kKeysOfWarp;
  const int64 first = visible.offset(block.b, block.head(coming.turn.g), coming.query + row, key);
  memory.visible.at[warp].copy({visible.data + first, visible.stride.row, 1, coming.rows - row,
                                static_cast<int32>(block.columns.end) - key},
                               lane);
}

// Queries, gradients and mask of a turn; a gradient that has one buffer comes later.
template <class Traits>
TW_DEVICE void load_turn(const Backward& p, typename Traits::Memory& memory, const Coming& coming,
                         int32 stage) {
  load_queries<Traits>(p, memory, coming, stage);
  if constexpr (Traits::kTiles.incoming_stages == 2)
    load_incoming<Traits>(p, memory, coming, stage);
  if constexpr (Traits::kBringsMask)
    if ((p.scoring.asked & score::kVisible) != 0) load_mask<Traits>(p, memory, coming);
}

}  // namespace tilewise::cuda::sm80
