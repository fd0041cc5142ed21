// A tile of scores in shared memory, and the steps that all passes share: load rows, score, mask.
#pragma once

#include "backends/cuda/kernels/plain/head.h"
#include "backends/cuda/kernels/plain/product.h"

namespace tilewise::cuda::plain {

// A kSide x kSide tile of scores, or of their weights or gradients. Its rows are kSide + 1 apart,
// which avoids bank conflicts.
template <class T>
using Square = T[kSide<T> * (kSide<T> + 1)];

// Two operands of a product, kChunk columns at a time.
template <class T>
struct Pieces {
  T left[kSide<T> * (kChunk + 1)], right[kSide<T> * (kChunk + 1)];
};

// Where the tile's rows and columns are in their tensors.
template <class T>
struct Spots {
  int64 query[kSide<T>], key[kSide<T>], value[kSide<T>];
  Range seen[kSide<T>];  // keys that a row sees, by the band
  Range rows, columns;
};

template <class T>
struct ScoreTile {
  Head<T> head;
  Spots<T> at;
  union {
    Pieces<T> pieces;
    Square<T> gradient;               // of backward, see differentiate
    T sums[kSide<T> * (kWidth + 1)];  // on their way to global memory
  };
  Square<T> scores;
};

template <class T>
TW_DEVICE Matrix<T> matrix_of(const Square<T>& square) {
  return {square, kSide<T> + 1, 1};
}

// Sets the tile's queries, and what the band lets each see. Begins and ends with a barrier.
template <class T>
TW_DEVICE void load_query(const Attention& p, ScoreTile<T>& tile, Range rows) {
  const Head<T>& head = tile.head;
  block_barrier();
  if (thread_index() == 0) tile.at.rows = rows;
  for (int32 i = thread_index(); i < kSide<T>; i += kThreads) {
    const bool exists = i < rows.size();
    uint32 faults = 0;
    tile.at.query[i] = kNowhere;
    if (exists)
      tile.at.query[i] =
          spot_of(p.queries, head.queries, rows.begin + i, faults).in(p.query, head.h);
    tile.at.seen[i] = exists ? head.band.visible_keys(rows.begin + i) : Range{};
    report(p.error, faults);
  }
  block_barrier();
}

template <class T>
TW_DEVICE void load_key(const Attention& p, ScoreTile<T>& tile, Range columns) {
  const Head<T>& head = tile.head;
  block_barrier();
  if (thread_index() == 0) tile.at.columns = columns;
  for (int32 j = thread_index(); j < kSide<T>; j += kThreads) {
    uint32 faults = 0;
    Spot spot{-1, 0};
    if (j < columns.size()) spot = spot_of(p.keys, head.keys, columns.begin + j, faults);
    tile.at.key[j] = spot.in(p.key, head.key_head);
    // Probabilities have no value tensor.
    tile.at.value[j] = p.value ? spot.in(p.value, head.key_head) : kNowhere;
    report(p.error, faults);
  }
  block_barrier();
}

// to(i, j) = row i of `left` times row j of `right`, over all of dim. `pieces` is free afterwards.
// Begins and ends with a barrier.
template <class T>
TW_DEVICE void product_of_rows(const Rows<T>& left, const Rows<T>& right, Pieces<T>& pieces,
                               T* to) {
  ScoreRegisters<T> sum;
  sum.clear();
  for (int64 first = 0; first < left.dim; first += kChunk) {
    block_barrier();
    // A rolled loop, because the loading code is long and would otherwise be inlined twice.
    TW_ROLLED
    for (int32 side = 0; side < 2; ++side)
      load_tile<kSide<T>, kChunk>(either(side == 0, left, right), first,
                                  side == 0 ? pieces.left : pieces.right);
    block_barrier();
    add_product<T>(sum, {pieces.left, kChunk + 1, 1}, {pieces.right, 1, kChunk + 1});
  }
  block_barrier();
  sum.each([&](int32 i, int32 j, int32 row, int32 column) {
    to[row * (kSide<T> + 1) + column] = sum.at[i][j];
  });
  block_barrier();
}

// scores(i, j) = q.k. Begins and ends with a barrier.
template <class T>
TW_DEVICE void score(const Attention& p, ScoreTile<T>& tile) {
  const Head<T>& head = tile.head;
  const Rows<T> query{p.query, tile.at.query, p.shape.dim, head.factor(p.scaling.query)};
  const Rows<T> key{p.key, tile.at.key, p.shape.dim, head.factor(p.scaling.key)};
  product_of_rows<T>(query, key, tile.pieces, tile.scores);
}

// A score at two points: after the softcap, for softcap's derivative; and at the end in units of
// log2, or -inf if the row does not see the column.
template <class T>
struct Mapped {
  T capped, score;
};

// Whether row i of the tile sees its column j.
template <class T>
TW_DEVICE bool mask(const Attention& p, const ScoreTile<T>& tile, int32 i, int32 j) {
  const Head<T>& head = tile.head;
  const int64 query = tile.at.rows.begin + i, key = tile.at.columns.begin + j;
  // Keys for which a table has no valid page or batch row are hidden.
  if (tile.at.key[j] == kNowhere || !tile.at.seen[i].contains(key)) return false;
  if (!head.blocks.visible(query, key)) return false;
  const Tensor& visible = p.mask.visible;
  return !visible || visible.data[visible.offset(head.b, head.h, query, key)] != 0;
}

// q.k -> scale -> softcap -> ALiBi -> bias, for row i and column j of the tile. Scores that
// overflow are clamped to finite numbers: only hidden ones are -inf.
template <class T>
TW_DEVICE Mapped<T> map(const Attention& p, const ScoreTile<T>& tile, int32 i, int32 j) {
  const Head<T>& head = tile.head;
  const int64 query = tile.at.rows.begin + i, key = tile.at.columns.begin + j;
  if (!mask(p, tile, i, j)) return {T(0), -core::infinity<T>()};
  const core::Softcap<T> softcap{static_cast<T>(p.scores.softcap)};
  const T product = tile.scores[i * (kSide<T> + 1) + j];
  T s = core::finite(softcap(static_cast<T>(p.scores.scale) * product));
  const T capped = s;
  if (p.scores.slopes) {
    const core::Alibi<T> alibi{head.slope};
    s = core::finite(alibi(s, core::distance(query, key, head.band.diagonal)));
  }
  if (p.scores.bias) {
    const T bias = load<T>(p.scores.bias, p.scores.bias.offset(head.b, head.h, query, key));
    if (bias == -core::infinity<T>()) return {capped, bias};
    s = core::finite(s + bias);
  }
  return {capped, core::to_log2(s)};
}

// One task: `part` of the columns of tile `tile` of one head of one sequence.
struct Work {
  int64 b, h, tile, part;
};

// Decodes a task's index (batch, head, tile, part). Later tiles come first: under a causal mask the
// last tiles of queries take longest.
TW_DEVICE Work work_at(int64 task, int64 heads, int64 tiles, int64 parts) {
  const int64 above = task / parts, head = above / tiles;
  return {head / heads, head % heads, tiles - 1 - above % tiles, task % parts};
}

// Calls body(rows, work) for each of this block's tasks. `rows` is empty if the sequence has no
// rows in the tile.
template <class T, class Body>
TW_DEVICE void for_each_query_tile(const Attention& p, Head<T>& head, int64 parts,
                                   const Body& body) {
  for_each_task(row_tasks<T>(p.shape) * parts, [&](int64 task) {
    const Work work = work_at(task, p.shape.heads, query_tiles<T>(p.shape), parts);
    head.enter(p, work.b, work.h);
    const Range rows = tile_range(work.tile, kSide<T>, head.queries.length);
    body(rows, work);
  });
}

// Calls body(i) for the tile's rows that belong to this warp.
template <class T, class Body>
TW_DEVICE void for_each_row(const ScoreTile<T>& tile, const Body& body) {
  const auto rows = static_cast<int32>(tile.at.rows.size());
  for (int32 i = warp_index(); i < rows; i += kWarps) body(i);
}

// Calls body(j) for the columns j that belong to this lane.
template <class T, class Body>
TW_DEVICE void for_each_column(const Body& body) {
  TW_ROLLED
  for (int32 j = lane_index(); j < kSide<T>; j += kWarp) body(j);
}

// Where sums are written: columns first, first + 1, ... of `rows` rows of a tensor.
template <class T>
struct Written {
  const Tensor& tensor;
  const int64* at;  // in shared memory, by row; kNowhere: the row is not written
  int64 first, dim;
  int32 rows;
};

// Stores sums times factor(row). They go through `between` in shared memory, so that the code of
// store() is inlined once and not once for each sum.
template <class T, class Factor>
TW_DEVICE void store_sums(const Written<T>& to, const SumRegisters<T>& sums, T* between,
                          const Factor& factor) {
  block_barrier();
  sums.each([&](int32 i, int32 j, int32 row, int32 column) {
    between[row * (kWidth + 1) + column] = sums.at[i][j] * factor(row);
  });
  block_barrier();
  const auto columns = static_cast<int32>(core::smaller<int64>(kWidth, to.dim - to.first));
  TW_ROLLED
  for (int32 n = thread_index(); n < to.rows * kWidth; n += kThreads) {
    const int32 row = n / kWidth, column = n % kWidth;
    if (column >= columns || to.at[row] == kNowhere) continue;
    store(to.tensor, to.at[row] + to.first + column, between[row * (kWidth + 1) + column]);
  }
}

}  // namespace tilewise::cuda::plain
