// What is computed about a visit, and the copies of its tiles. With kLooksAhead the computation
// runs during the products of the previous visit: at the start of a visit there are no products
// that would hide the latency of shared memory.
#pragma once

#include "backends/cuda/kernels/sm80/backward_order.h"

namespace tilewise::cuda::sm80 {

// The visit whose queries are in shared memory.
struct CurrentVisit {
  Visit visit;
  bool exists;
  // With kLooksAhead: the tile's first query, and the cover of the warp's first patch.
  int32 query;
  Cover cover;
};

// The visit whose queries are loaded next. The pointers say where the thread's share of the copies
// begins. Without kLooksAhead only `numbers` is set, and the other places are computed when the
// copies start. With it, `incoming` is null if incoming gradients have one stage, and `bias` and
// `visible` are null if they are not copied.
struct NextVisit {
  Visit visit;
  bool exists;
  int32 query, rows;                // the tile's first query, and the queries left from it on
  const uint8 *queries, *incoming;  // the thread's first piece
  const uint8* numbers;             // for the first threads: a piece of lse, -delta or TileNumbers
  const uint8* bias;                // the thread's first piece
  const uint8* visible;             // the boolean mask of the warp's first query and key
};

// The cover of the warp's keys by the queries of a patch that begins at row `row` of a tile.
template <class Traits>
TW_DEVICE Cover cover_of(const typename Traits::Memory& memory, int32 query, int32 row) {
  return memory.reach[warp_index()].cover(query + row, Traits::kQueriesOfPatch,
                                          static_cast<int32>(memory.block.queries.length));
}

// Whether the block mask leaves the warp's patch visible. The patch must lie in one block of the
// mask, as it does in featured kernels (score::kBlocksOfTiles).
template <class Traits>
TW_DEVICE bool has_patch(const Backward& p, const KeyBlock& block, Visit visit, int32 query) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const Mask& mask = p.scoring.mask;
  const int32 key =
      block.tile * kTiles.keys + warp_index() / kTiles.query_warps * Traits::kKeysOfWarp;
  const core::BlockMask blocks = blocks_of(mask, block.b, block.head(visit.g));
  const int32 row = query / static_cast<int32>(mask.block_query);
  return blocks.present[row * blocks.row_stride + key / static_cast<int32>(mask.block_key)] != 0;
}

template <class Traits>
TW_DEVICE CurrentVisit current_visit(const Backward& p, const typename Traits::Memory& memory,
                                     Visit visit) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  if constexpr (!Traits::kLooksAhead) return {visit, visit.exists(block), 0, Cover::kNone};
  const int32 query = visit.tile(p, block) * kTiles.queries;
  const int32 row = warp_index() % kTiles.query_warps * Traits::kQueriesOfPatch;
  CurrentVisit now{visit, visit.exists(block), query, cover_of<Traits>(memory, query, row)};
  if constexpr (Traits::kSkipsBlocks)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBlocks) && now.exists &&
        now.cover != Cover::kNone && !has_patch<Traits>(p, block, visit, query + row))
      now.cover = Cover::kNone;
  return now;
}

// Where the thread's share of a tile of queries or incoming gradients begins. In general kernels:
// where row 0 of the tile begins, because load_tile finds the share.
template <class Traits>
TW_DEVICE const uint8* share_of_rows(const Rows& of, const KeyBlock& block, Visit visit,
                                     int32 query) {
  using Load = Loader<typename Traits::QueryTile, Traits::kThreads>;
  const uint8* first = of.at(block.queries.batch, block.head(visit.g), block.queries.first + query);
  if constexpr (Traits::kIsGeneral) return first;
  const auto share = Load::share_of(thread_index_anew());
  return first + (share.row * of.row + share.bytes_before());
}

// Where the thread's share of a tile's bias begins.
template <class Traits>
TW_DEVICE const uint8* share_of_bias(const Tensor& bias, const KeyBlock& block, Visit visit,
                                     int32 query) {
  using Load = Loader<typename Traits::BiasTile, Traits::kThreads>;
  const auto share = Load::share_of(thread_index_anew());
  const int64 first =
      bias.offset(block.b, block.head(visit.g), query, block.tile * Traits::kTiles.keys);
  return place_in(bias, first) + (share.row * bias.stride.row * 2 + share.bytes_before());
}

// Where the warp's part of a tile's boolean mask begins.
template <class Traits>
TW_DEVICE const uint8* warp_of_mask(const Tensor& visible, const KeyBlock& block, Visit visit,
                                    int32 query) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const int32 warp = thread_index_anew() / kWarp;
  const int32 row = warp % kTiles.query_warps * Traits::kQueriesOfWarp;
  const int32 key = block.tile * kTiles.keys + warp / kTiles.query_warps * Traits::kKeysOfWarp;
  return visible.data + visible.offset(block.b, block.head(visit.g), query + row, key);
}

template <class Traits>
TW_DEVICE NextVisit next_visit(const Backward& p, const typename Traits::Memory& memory,
                               Visit visit) {
  constexpr int32 kQueries = Traits::kTiles.queries, kPieces = kQueries / 4;
  const KeyBlock& block = memory.block;
  const int32 query = visit.tile(p, block) * kQueries, thread = thread_index_anew();
  const int64 row = block.padded(p.workspace, block.head(visit.g), query);
  const float* of_rows = thread < kPieces ? p.workspace.lse : p.workspace.minus_delta;
  const void* numbers = of_rows + (row + thread % kPieces * 4);
  if (thread >= 2 * kPieces) numbers = p.workspace.tiles + row / kBackwardRows;
  NextVisit next{visit,
                 visit.exists(block),
                 query,
                 static_cast<int32>(block.queries.length) - query,
                 nullptr,
                 nullptr,
                 static_cast<const uint8*>(numbers),
                 nullptr,
                 nullptr};
  if constexpr (!Traits::kLooksAhead) return next;
  next.queries = share_of_rows<Traits>(p.in.query, block, visit, query);
  if constexpr (Traits::kTiles.incoming_stages == 2)
    next.incoming = share_of_rows<Traits>(p.in.incoming, block, visit, query);
  if constexpr (Traits::kLoadsBias)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBias))
      next.bias = share_of_bias<Traits>(p.scoring.bias, block, visit, query);
  if constexpr (Traits::kLoadsMask)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kVisible))
      next.visible = warp_of_mask<Traits>(p.scoring.mask.visible, block, visit, query);
  return next;
}

// What is known of the visit that comes now and, with kLooksAhead, of the one after it.
struct Visits {
  CurrentVisit current;
  NextVisit next;
};

template <class Traits>
TW_DEVICE Visits visits_from(const Backward& p, typename Traits::Memory& memory, Visit next) {
  if constexpr (!Traits::kLooksAhead) return {current_visit<Traits>(p, memory, next), {}};
  return {current_visit<Traits>(p, memory, next),
          next_visit<Traits>(p, memory, visit_after<Traits>(p, memory, next))};
}

// Starts the thread's share of the copy of queries or incoming gradients.
template <class Traits>
TW_DEVICE void load_share(typename Traits::QueryTile& tile, const Rows& from, const uint8* first,
                          int32 rows) {
  using Load = Loader<typename Traits::QueryTile, Traits::kThreads>;
  if constexpr (Traits::kIsGeneral) return load_tile<Traits>(tile, from, first, rows);
  const auto share = Load::share_of(thread_index_anew());
  Load::load(shared_address(&tile) + share.place(), share, first,
             {first, from.row, from.bytes, rows});
}

// Starts the copies of a visit's queries, and of their lse, -delta and TileNumbers.
template <class Traits>
TW_DEVICE void load_queries(const Backward& p, typename Traits::Memory& memory,
                            const NextVisit& next, int32 stage) {
  const uint8* first = next.queries;
  if constexpr (!Traits::kLooksAhead)
    first = share_of_rows<Traits>(p.in.query, memory.block, next.visit, next.query);
  load_share<Traits>(memory.query[stage], p.in.query, first, next.rows);
  constexpr int32 kNumbers = Traits::kTiles.queries / 2 + 1;
  const int32 thread = thread_index_anew();
  if (thread < kNumbers)
    copy_later(shared_address(&memory.rows[stage]) + thread * kPieceBytes, next.numbers);
}

// Starts the copy of a visit's incoming gradient. If that gradient has one stage, this is called in
// the middle of the previous visit.
template <class Traits>
TW_DEVICE void load_incoming(const Backward& p, typename Traits::Memory& memory,
                             const NextVisit& next, int32 stage) {
  const uint8* first = next.incoming;
  if constexpr (!Traits::kLooksAhead || Traits::kTiles.incoming_stages == 1)
    first = share_of_rows<Traits>(p.in.incoming, memory.block, next.visit, next.query);
  load_share<Traits>(memory.incoming[stage], p.in.incoming, first, next.rows);
}

// Starts the copy of a visit's bias.
template <class Traits>
TW_DEVICE void load_bias(const Backward& p, typename Traits::Memory& memory, const NextVisit& next,
                         int32 stage) {
  using Load = Loader<typename Traits::BiasTile, Traits::kThreads>;
  const KeyBlock& block = memory.block;
  const auto share = Load::share_of(thread_index_anew());
  const int64 row = p.scoring.bias.stride.row * 2;
  const auto keys = static_cast<int32>(block.columns.size());
  Load::load(shared_address(&memory.bias.at[stage]) + share.place(), share, next.bias,
             {next.bias, row, keys * 2, next.rows});
}

// Starts the copy of the warp's part of a visit's boolean mask.
template <class Traits>
TW_DEVICE void load_mask(const Backward& p, typename Traits::Memory& memory, const NextVisit& next,
                         int32 stage) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const KeyBlock& block = memory.block;
  const auto thread = static_cast<uint32>(thread_index_anew());
  const auto lane = static_cast<int32>(thread % kWarp), warp = static_cast<int32>(thread / kWarp);
  const int32 row = warp % kTiles.query_warps * Traits::kQueriesOfWarp;
  const int32 key = warp / kTiles.query_warps * Traits::kKeysOfWarp;
  const uint8* first = next.visible;
  if constexpr (!Traits::kLooksAhead)
    first = warp_of_mask<Traits>(p.scoring.mask.visible, block, next.visit, next.query);
  memory.visible.at[stage % Traits::kMaskStages * Traits::kWarps + warp].copy(
      {first, p.scoring.mask.visible.stride.row, 1, next.rows - row,
       static_cast<int32>(block.columns.size()) - key},
      lane);
}

// Starts all copies of a visit, but for an incoming gradient with one stage, which comes later.
template <class Traits>
TW_DEVICE void load_visit(const Backward& p, typename Traits::Memory& memory, const NextVisit& next,
                          int32 stage) {
  load_queries<Traits>(p, memory, next, stage);
  if constexpr (Traits::kTiles.incoming_stages == 2) load_incoming<Traits>(p, memory, next, stage);
  if constexpr (Traits::kLoadsBias)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBias))
      load_bias<Traits>(p, memory, next, stage);
  if constexpr (Traits::kLoadsMask)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kVisible))
      load_mask<Traits>(p, memory, next, stage);
}

}  // namespace tilewise::cuda::sm80
