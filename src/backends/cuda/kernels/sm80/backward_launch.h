// The arguments of backward's kernels, and their numbers of tasks. Three kernels run one after
// another: `rows`, `tiles` and `finish`. Short variants need no `rows`, and need `finish` only for
// the gradient of sinks.
#pragma once

#include "backends/cuda/kernels/sm80/backward_shape.h"
#include "backends/cuda/kernels/sm80/launch.h"

namespace tilewise::cuda::sm80 {

// Threads of a block of `rows` and `finish`.
inline constexpr int32 kRowThreads = 128;

struct BackwardInputs {
  Rows query, key, value, output, incoming;
  Tensor lse, incoming_lse;
};

// Outputs that are not wanted have no data.
struct BackwardOutputs {
  Rows query, key, value;
  Tensor bias, slopes, sinks;
  Axes bias_size;
  int64 slopes_batch;
};

// What `rows` computes once for kBackwardRows rows of a head.
struct alignas(16) TileNumbers {
  int32 has_apart;  // whether one of them is a row apart
  float slope;      // ALiBi's slope in units of log2
  int32 spare[2];
};

// What the kernels hand to each other in the workspace. Pointers are null if a call does not need
// them. Rows are those of the workspace, padded_rows per head.
struct Workspace {
  // The lse by row, in units of log2. Infinite if the row does not exist or sees no key; see
  // remaining_lse for a row apart.
  float* lse;
  float* minus_delta;
  float* apart;        // by row: the lse of a row apart, or else 0
  TileNumbers* tiles;  // one for each kBackwardRows rows
  // Sums of the query's gradient, by tile of queries in SumOrder; kept even if that gradient is not
  // wanted. A short kernel with two tiles of keys keeps the first tile's sums here; other short
  // kernels keep none.
  float* query;
  float* slopes;      // partial sums by (b, h, tile of keys, warp)
  float* sinks;       // partial sums by (b, h, tile of kBackwardRows queries), or by (b, h)
  float* bias;        // sums, with the strides of bias_stride
  int32* turns;       // by (b, h, tile of queries): how many blocks have had their turn
  int64 padded_rows;  // of one head, for all sequences
  // Strides of `bias`, 0 along axes that the bias was broadcast over. Featured kernels sum its
  // gradient in tiles (bias_in_tiles): then row and column count tiles, and a tile has its numbers
  // in SumOrder.
  Axes bias_stride;
  bool bias_in_tiles;
};

// The final factors of gradients: the scale, and dropout's factor for weights that are kept.
struct GradientFactors {
  float scale, keep;
};

struct Backward {
  Shape shape;
  Side queries, keys;
  BackwardInputs in;
  BackwardOutputs out;
  Workspace workspace;
  score::Scoring scoring;
  GradientFactors factors;
  struct {
    int32 heads_together;  // how many key heads' tiles are interleaved; see key_work_at
    bool batch_first;      // whether the same head of all sequences comes together
    BackwardShape tiles;
  } plan;
  uint32* error;  // gets bits of tw_fault
};

// Tiles of kBackwardRows queries in a sequence of the maximal length. All sequences get so many.
TW_HD inline int64 row_tiles(const Shape& shape) {
  return core::ceil_div(shape.queries, kBackwardRows);
}

TW_HD inline int64 row_tasks(const Shape& shape) {
  return shape.batch * shape.heads * row_tiles(shape);
}

TW_HD inline int64 key_tiles(const Shape& shape, const BackwardShape& tiles) {
  return core::ceil_div(shape.keys, tiles.keys);
}

TW_HD inline int64 key_tasks(const Shape& shape, const BackwardShape& tiles) {
  // A block of a short kernel has all keys of a sequence.
  const int64 of_head = tiles.kind == BackwardKind::kShort ? 1 : key_tiles(shape, tiles);
  return shape.batch * shape.key_heads * of_head;
}

TW_HD inline int64 query_tiles(const Shape& shape, const BackwardShape& tiles) {
  return core::ceil_div(shape.queries, tiles.queries);
}

// Elements of the bias's gradient for a task of `finish`, if they are not in tiles.
inline constexpr int64 kBiasPart = 16 * kRowThreads;

TW_HD inline int64 bias_count(const Axes& size) {
  return size.batch * size.head * size.row * size.column;
}

TW_HD inline bool is_short(const Backward& p) {
  return p.plan.tiles.kind == BackwardKind::kShort;
}

// How many partial sums of the gradient of a head's sink each sequence has.
TW_HD inline int64 sink_partials(const Backward& p) {
  return is_short(p) ? 1 : row_tiles(p.shape);
}

// Tiles of the bias's gradient. If the bias has one row, all tiles of queries add to the same one.
struct BiasTiles {
  int64 heads, down, across;

  TW_HD int64 count() const { return heads * down * across; }
};

TW_HD inline BiasTiles bias_tiles(const Axes& size, const BackwardShape& tiles) {
  return {size.batch * size.head, core::ceil_div(size.row, int64{tiles.queries}),
          core::ceil_div(size.column, int64{tiles.keys})};
}

// Tasks of `finish`: tiles of the query's gradient, parts of the bias's, and single numbers of
// heads (the gradients of slopes and sinks).
struct FinishTasks {
  int64 query, bias, heads;
};

TW_HD inline int64 bias_tasks(const Backward& p) {
  if (!p.out.bias) return 0;
  if (p.workspace.bias_in_tiles) return bias_tiles(p.out.bias_size, p.plan.tiles).count();
  return core::ceil_div(bias_count(p.out.bias_size), kBiasPart);
}

TW_HD inline FinishTasks finish_tasks(const Backward& p) {
  const int64 sinks = p.out.sinks ? 1 : 0, slopes = p.out.slopes ? p.out.slopes_batch : 0;
  return {p.out.query.data && !is_short(p) ? row_tasks(p.shape) : 0, bias_tasks(p),
          p.shape.heads * (slopes + sinks)};
}

}  // namespace tilewise::cuda::sm80
