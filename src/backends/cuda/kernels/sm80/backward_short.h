// Backward of short sequences: a block has all keys of one key head of a sequence, so no other
// block adds to the gradients of its queries. The block does the work of the kernel `rows` itself
// and stores the gradients of queries, keys and values. A variant's tiles have 16, 32, 64 or 128
// keys. Latency is hidden by the other blocks of the multiprocessor; the variant of which only one
// block fits prefetches the queries of the next visit. The steps are those of backward.h.
//
// Variants with 128 keys take up to two tiles of keys, one after the other. Then the workspace
// keeps the query-gradient sums of the first tile of keys.
#pragma once

#include "backends/cuda/kernels/sm80/backward.h"
#include "backends/cuda/kernels/sm80/backward_rows.h"

namespace tilewise::cuda::sm80 {

// Fills in what shared memory keeps about the block. All tiles of queries are visited, even those
// that see no key, because this block must store their gradient. Call it by all threads; ends with
// a barrier.
template <class Traits>
TW_DEVICE void enter_short(const Backward& p, typename Traits::Memory& memory) {
  KeyBlock& block = memory.block;
  if (thread_index() == 0) {
    find_block<Traits>(p, block);
    block.first_tile = block.rotation = 0;
    block.tiles =
        static_cast<int32>(core::ceil_div(block.queries.length, int64{Traits::kTiles.queries}));
    for (auto& rows : memory.rows) rows.tile.has_apart = 0;
  }
  block_barrier();
}

// Waits until all threads have finished with the previous tile of keys and values, if there is one,
// and starts the copies of tile `tile`. Call it by all threads.
template <class Traits>
TW_DEVICE void load_key_tile(const Backward& p, typename Traits::Memory& memory, int32 tile) {
  KeyBlock& block = memory.block;
  if (tile > 0) {
    block_barrier();
    if (thread_index() == 0) {
      block.tile = tile;
      const bool exists = block.keys.batch >= 0;
      block.columns = exists ? tile_range(tile, Traits::kTiles.keys, block.keys.length) : Range{};
    }
    block_barrier();
  }
  const int32 thread = thread_index_anew(), warp = thread / kWarp;
  if (thread % kWarp == 0)
    memory.reach[warp] = reach_of<Traits>(block, warp / Traits::kTiles.query_warps);
  load_keys<Traits>(p, memory);
  commit_copies();
}

// Whether the tile of keys in shared memory is the sequence's last.
template <class Traits>
TW_DEVICE bool is_last_key_tile(const KeyBlock& block) {
  if constexpr (!Traits::kTiles.takes_two_tiles()) return true;
  return block.tile > 0 || block.keys.length <= Traits::kTiles.keys;
}

TW_DEVICE Visit first_short_visit(const KeyBlock& block) {
  return {block.tiles > 0 ? 0 : block.heads, 0};
}

TW_DEVICE Visit short_visit_after(const KeyBlock& block, Visit visit) {
  return visit.n + 1 < block.tiles ? Visit{visit.g, visit.n + 1} : Visit{visit.g + 1, 0};
}

// Starts the copies of a visit's queries and incoming gradients.
template <class Traits>
TW_DEVICE void load_short_queries(const Backward& p, typename Traits::Memory& memory, Visit visit,
                                  int32 stage) {
  const KeyBlock& block = memory.block;
  const Place& queries = block.queries;
  const int32 h = block.head(visit.g), query = visit.n * Traits::kTiles.queries;
  const auto rows = static_cast<int32>(queries.length) - query;
  const int64 first = queries.first + query;
  load_tile<Traits>(memory.query[stage], p.in.query, p.in.query.at(queries.batch, h, first), rows);
  load_tile<Traits>(memory.incoming[stage], p.in.incoming,
                    p.in.incoming.at(queries.batch, h, first), rows);
  commit_copies();
}

// What a thread loads into registers for the rows of a tile of queries: pieces of the output, at
// the same places as its pieces of the incoming gradient, and the lse of one row.
template <class Traits>
struct PrefetchedRows {
  using Load = Loader<typename Traits::QueryTile, Traits::kThreads>;
  static constexpr int32 kPieces = Traits::QueryTile::kPieces, kApart = Load::kApart;
  static constexpr int32 kCount = Traits::kTiles.queries / kApart;
  static_assert(kApart * kPieces == Traits::kThreads && kPieces <= kWarp);
  static_assert(Traits::kTiles.queries <= Traits::kThreads);
  EightElements output[kCount];
  float lse;
};

template <class Traits>
TW_DEVICE void prefetch_rows(const Backward& p, const KeyBlock& block, Visit visit,
                             PrefetchedRows<Traits>& ahead) {
  using Ahead = PrefetchedRows<Traits>;
  const Place& queries = block.queries;
  const int32 h = block.head(visit.g), query = visit.n * Traits::kTiles.queries;
  const auto rows = static_cast<int32>(queries.length) - query;
  const int32 thread = thread_index_anew();
  const auto share = Ahead::Load::share_of(thread);
  const uint8* output = p.in.output.at(queries.batch, h, queries.first + query);
  TW_UNROLL
  for (int32 n = 0; n < Ahead::kCount; ++n) {
    const int32 row = share.row + n * Ahead::kApart;
    ahead.output[n] = {};
    if (row < rows)
      ahead.output[n] = piece_at(p.in.output, output + row * p.in.output.row, share.piece);
  }
  const bool has_row = thread < core::smaller(rows, Traits::kTiles.queries);
  ahead.lse = has_row ? lse_of(p, queries, h, query + thread) : 0.0f;
}

// Prefetches the output's rows of a later visit into the L2 cache, which takes no registers.
template <class Traits>
TW_DEVICE void prefetch_output(const Backward& p, const KeyBlock& block, Visit visit) {
  const Place& queries = block.queries;
  const int32 query = visit.n * Traits::kTiles.queries, i = thread_index_anew();
  if (i >= Traits::kTiles.queries || query + i >= static_cast<int32>(queries.length)) return;
  const uint8* row = p.in.output.at(queries.batch, block.head(visit.g), queries.first + query + i);
  for (int32 n = 0; n < p.in.output.bytes; n += 128) prefetch(row + n);
}

// Computes -delta of each row. The thread's own copies of the incoming gradient must have arrived.
template <class Traits>
TW_DEVICE void compute_delta(typename Traits::Memory& memory, int32 stage,
                             const PrefetchedRows<Traits>& ahead) {
  using Ahead = PrefetchedRows<Traits>;
  const auto share = Ahead::Load::share_of(thread_index_anew());
  TW_UNROLL
  for (int32 n = 0; n < Ahead::kCount; ++n) {
    const int32 row = share.row + n * Ahead::kApart;
    const uint8* piece = memory.incoming[stage].bytes + Traits::QueryTile::place(row, share.piece);
    float sum =
        -dot<Traits::kType>(ahead.output[n], *reinterpret_cast<const EightElements*>(piece));
    TW_UNROLL
    for (int32 bits = Ahead::kPieces / 2; bits > 0; bits /= 2) sum += shuffle(sum, bits);
    if (share.piece == 0) memory.rows[stage].minus_delta[row] = sum;
  }
}

// Computes what `rows` computes for other variants, one row per thread. Call it after a barrier.
template <class Traits>
TW_DEVICE void compute_short_rows(const Backward& p, typename Traits::Memory& memory, Visit visit,
                                  int32 stage, const PrefetchedRows<Traits>& ahead) {
  const KeyBlock& block = memory.block;
  const int32 i = thread_index_anew(), row = visit.n * Traits::kTiles.queries + i;
  if (i >= Traits::kTiles.queries) return;
  const int32 h = block.head(visit.g);
  auto& rows = memory.rows[stage];
  RowStatistics known{core::infinity<float>(), 0, 0};
  if (row < block.queries.length)
    known =
        row_statistics(p, h, ahead.lse, with_lse(p, rows.minus_delta[i], block.queries, h, row));
  const bool row_is_apart = is_apart(known.lse);
  const RowApart place{block.b, h, row, block.queries, block.keys};
  rows.lse[i] = row_is_apart ? remaining_lse<Traits::kType, Traits::kFeatures>(p, place, known.lse)
                             : known.lse;
  rows.minus_delta[i] = known.minus_delta;
  if (row_is_apart) rows.tile.has_apart = 1;
  auto& of_short = memory.of_short.at[0];
  of_short.apart[i] = row_is_apart ? known.lse : 0.0f;
  if (p.workspace.sinks)
    of_short.of_sink[i] = known.of_sink + (visit.n > 0 ? of_short.of_sink[i] : 0.0f);
}

// Calls body(four, saved) for each of the thread's pieces of a tile's query gradient. `saved` is
// the piece's place in the workspace, where it is kept from the first tile of keys to the second.
template <class Traits, class Body>
TW_DEVICE void for_each_saved(const Backward& p, const KeyBlock& block, Visit visit,
                              typename Traits::QuerySums& sums, const Body& body) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const int64 head = int64{block.b} * p.shape.heads + block.head(visit.g);
  const int64 tile = head * query_tiles(p.shape, kTiles) + visit.n;
  auto* first =
      reinterpret_cast<FourNumbers*>(p.workspace.query + tile * kTiles.queries * kTiles.dim) +
      thread_index_anew();
  sums.each_piece([&](float(&four)[4], int32 m, int32 n) {
    body(four, first[(m * Traits::QuerySums::kAcross + n) * Traits::kThreads]);
  });
}

// Multiplies a warp's query gradients by `factor` and rounds them into a tile in shared memory.
template <class Traits>
TW_DEVICE void round_queries(typename Traits::QueryTile& tile, typename Traits::QuerySums& sums,
                             float factor) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const int32 thread = thread_index_anew(), warp = thread / kWarp, lane = thread % kWarp;
  const int32 first_row = warp / kTiles.warps_across() * 16 * kTiles.gradient_down() + lane / 4;
  const int32 first_piece = warp % kTiles.warps_across() * Traits::QuerySums::kAcross;
  sums.each_piece([&](float(&four)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 half = 0; half < 2; ++half) {
      const int32 row = first_row + m * 16 + half * 8;
      const int32 place = Traits::QueryTile::place(row, first_piece + n) + lane % 4 * 4;
      *reinterpret_cast<uint32*>(tile.bytes + place) =
          pair_of<Traits::kType>(four[2 * half] * factor, four[2 * half + 1] * factor);
    }
  });
}

// Computes the query's gradient. After the last tile of keys the gradient is rounded into the tile
// of queries, which is no longer read; after an earlier one it is saved in the workspace.
template <class Traits>
TW_DEVICE void short_query_gradient(const Backward& p, typename Traits::Memory& memory, Visit visit,
                                    int32 stage, const LanePlaces<Traits>& lane) {
  using QuerySums = typename Traits::QuerySums;
  constexpr BackwardShape kTiles = Traits::kTiles;
  const ScoreTilePlaces<Traits> score_tiles(memory);
  const int32 warp = thread_index_anew() / kWarp, part = warp % kTiles.warps_across();
  QuerySums sums;
  sums.clear();
  if constexpr (kTiles.takes_two_tiles())
    if (memory.block.tile > 0)
      for_each_saved<Traits>(p, memory.block, visit, sums,
                             [](float(&four)[4], const FourNumbers& saved) {
                               TW_UNROLL
                               for (int32 i = 0; i < 4; ++i) four[i] = saved.at[i];
                             });
  const ColumnsOfPart<typename Traits::KeyTile, QuerySums::kAcross / 2> columns(lane.down, part);
  Traits::QueryProduct::add(
      sums,
      [&](int32 m, int32 k) {
        return load_matrices_transposed(Traits::ScoreTile::moved(score_tiles.across, k * 16, m));
      },
      [&](int32 n, int32 k) { return columns.read(k * 16, n); });
  if constexpr (kTiles.takes_two_tiles())
    if (!is_last_key_tile<Traits>(memory.block))
      return for_each_saved<Traits>(p, memory.block, visit, sums,
                                    [](float(&four)[4], FourNumbers& saved) {
                                      saved = {{four[0], four[1], four[2], four[3]}};
                                    });
  round_queries<Traits>(memory.query[stage], sums, p.factors.scale);
}

// Computes all products of a visit.
template <class Traits>
TW_DEVICE void run_short_visit(const Backward& p, typename Traits::Memory& memory, Visit visit,
                               int32 stage, KeyGradients<Traits>& sums) {
  const LanePlaces<Traits> lane(memory);
  const int32 query = visit.n * Traits::kTiles.queries;
  const int32 warp = thread_index_anew() / kWarp;
  const int32 row = warp % Traits::kTiles.query_warps * Traits::kQueriesOfPatch;
  const CurrentVisit current{visit, true, query, cover_of<Traits>(memory, query, row)};
  const VisitPlaces<Traits> now(lane, current, stage);
  compute_scores<Traits>(p, memory, now, sums);
  block_barrier();
  if (thread_index_anew() == 0) memory.rows[stage].tile.has_apart = 0;
  if constexpr (Traits::kExchangesWeights) {
    const ScoreTilePlaces<Traits> score_tiles(memory);
    add_columns<Traits>(sums.of_value,
                        rows_of_score_tile<Traits>(score_tiles.down + Traits::ScoreTile::kBytes),
                        now.incoming_down, 0);
    add_columns<Traits>(sums.of_key, rows_of_score_tile<Traits>(score_tiles.down), now.query_down,
                        0);
    block_barrier();
  }
  if (p.out.query.data) short_query_gradient<Traits>(p, memory, visit, stage, lane);
}

// Stores the query's gradient, after the last tile of keys.
template <class Traits>
TW_DEVICE void store_query_gradient(const Backward& p, const typename Traits::Memory& memory,
                                    Visit visit, int32 stage) {
  using QueryTile = typename Traits::QueryTile;
  const KeyBlock& block = memory.block;
  const Place& queries = block.queries;
  const int32 query = visit.n * Traits::kTiles.queries;
  if (!p.out.query.data || !is_last_key_tile<Traits>(block)) return;
  const Rows& to = p.out.query;
  const int32 left = static_cast<int32>(queries.length) - query;
  const int32 rows = core::smaller(left, QueryTile::kTileRows);
  uint8* first = to.at(queries.batch, block.head(visit.g), queries.first + query);
  TW_ROLLED
  for (int32 n = thread_index_anew(); n < rows * QueryTile::kPieces; n += Traits::kThreads) {
    const int32 row = n / QueryTile::kPieces, piece = n % QueryTile::kPieces;
    store_piece(to, first + row * to.row, piece,
                *reinterpret_cast<const EightElements*>(memory.query[stage].bytes +
                                                        QueryTile::place(row, piece)));
  }
}

// Stores the sequence's part of the gradient of the sink of the group's head `g`. Call it by all
// threads, when all tiles of that head have been visited.
template <class Traits>
TW_DEVICE void store_sink_partial(const Backward& p, typename Traits::Memory& memory, int32 g) {
  const KeyBlock& block = memory.block;
  auto& of_short = memory.of_short.at[0];
  const int32 i = thread_index_anew();
  const bool has_row = block.tiles > 0 && i < Traits::kTiles.queries;
  const float sum = sum_of_block(has_row ? of_short.of_sink[i] : 0.0f, of_short.warp_sums);
  if (i == 0) p.workspace.sinks[int64{block.b} * p.shape.heads + block.head(g)] = sum;
}

// Visits all tiles of queries with the keys in shared memory.
template <class Traits>
TW_DEVICE void run_key_tile(const Backward& p, typename Traits::Memory& memory) {
  constexpr bool kPrefetches = Traits::kQueryStages == 2;
  const KeyBlock& block = memory.block;
  Visit visit = first_short_visit(block);
  if (kPrefetches && visit.exists(block)) load_short_queries<Traits>(p, memory, visit, 0);
  KeyGradients<Traits> sums;
  sums.of_key.clear();
  sums.of_value.clear();
  TW_ROLLED
  for (int32 stage = 0; visit.exists(block); stage = kPrefetches ? stage ^ 1 : 0) {
    if constexpr (!kPrefetches) {
      if (visit.g + visit.n > 0) block_barrier();
      load_short_queries<Traits>(p, memory, visit, stage);
    }
    PrefetchedRows<Traits> ahead;
    prefetch_rows<Traits>(p, block, visit, ahead);
    wait_for_copies<0>();
    compute_delta<Traits>(memory, stage, ahead);
    block_barrier();
    compute_short_rows<Traits>(p, memory, visit, stage, ahead);
    const Visit next = short_visit_after(block, visit);
    if (kPrefetches && next.exists(block)) {
      load_short_queries<Traits>(p, memory, next, stage ^ 1);
      prefetch_output<Traits>(p, block, next);
    }
    block_barrier();
    run_short_visit<Traits>(p, memory, visit, stage, sums);
    block_barrier();
    store_query_gradient<Traits>(p, memory, visit, stage);
    if (p.workspace.sinks && block.tile == 0 && next.g != visit.g)
      store_sink_partial<Traits>(p, memory, visit.g);
    visit = next;
  }
  wait_for_copies<0>();
  block_barrier();
  store_key_gradients<Traits>(p, memory, sums.of_key, sums.of_value);
}

template <class Traits>
TW_DEVICE void backward_short(const Backward& p) {
  auto& memory = shared_memory<typename Traits::Memory, Traits::kMostShared>();
  enter_short<Traits>(p, memory);
  const KeyBlock& block = memory.block;
  if (p.workspace.sinks && block.tiles == 0)
    for (int32 g = 0; g < block.heads; ++g) store_sink_partial<Traits>(p, memory, g);
  TW_ROLLED
  for (int32 tile = 0; true; ++tile) {
    load_key_tile<Traits>(p, memory, tile);
    run_key_tile<Traits>(p, memory);
    if (is_last_key_tile<Traits>(block)) return;
  }
}

}  // namespace tilewise::cuda::sm80
