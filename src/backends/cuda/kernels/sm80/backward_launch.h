// How the kernels of backward are launched, and what they get. Three of them run one after the
// other: rows, the tiles, and finish. Short tiles need no rows, and finish for sinks alone.
#pragma once

#include "backends/cuda/kernels/sm80/backward_shape.h"
#include "backends/cuda/kernels/sm80/launch.h"

namespace tilewise::cuda::sm80 {

// Threads of a block of the first and of the last kernel.
inline constexpr int32 kRowThreads = 128;

struct BackwardInputs {
  Rows query, key, value, output, incoming;
  Tensor lse, incoming_lse;
};

// Absent ones have no data.
struct BackwardOutputs {
  Rows query, key, value;
  Tensor bias, slopes, sinks;
  Axes bias_size;
  int64 slopes_batch;
};

// What is known of a tile of kBackwardRows rows of a head.
struct alignas(16) TileNumbers {
  int32 has_apart;  // whether some row is apart
  float slope;      // of ALiBi, in units of log2
  int32 spare[2];
};

// What the kernels leave for each other in the workspace; null where it is not wanted. Rows are
// those of the workspace: padded_rows a head.
struct Between {
  // By row. In units of log2; infinity where it sees nothing or is none; what `rows` says of a row
  // that is apart.
  float* lse;
  float* minus_delta;
  float* apart;        // the lse of a row that is, or 0
  TileNumbers* tiles;  // by kBackwardRows rows
  float* query;        // by tile of queries, see SumOrder; there though nobody may want it; of
                       // short tiles where keys come twice, in the order of threads
  float* slopes;       // by (b, h, tile of keys, warp): shares
  float* sinks;        // by (b, h, tile of kBackwardRows queries), or by (b, h): shares
  float* bias;         // sums, in the order of bias_stride
  int32* turns;        // by (b, h, tile of queries): how many tiles of keys have added to it
  int64 padded_rows;   // of all sequences
  // Of `bias`, 0 where it was broadcast. In tiles, as featured kernels sum them, rows and columns
  // are those of tiles, each of which has its numbers in the order in which threads have them.
  Axes bias_stride;
  bool bias_in_tiles;
};

// What gradients are multiplied by in the end: scale, and dropout's for what is kept.
struct GradientFactors {
  float scale, keep;
};

struct Backward {
  Shape shape;
  Side queries, keys;
  BackwardInputs in;
  BackwardOutputs out;
  Between between;
  score::Scoring scoring;
  GradientFactors factors;
  struct {
    int32 heads_together;  // key heads whose tiles follow each other
    bool batch_first;      // of all heads, those of one number in all sequences come together
    BackwardShape tiles;
  } plan;
  uint32* error;  // gets bits of tw_fault
};

// Of all sequences: each has its own, whatever the tables say.
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
  // A short one has all keys of a sequence.
  const int64 of_head = tiles.kind == BackwardKind::kShort ? 1 : key_tiles(shape, tiles);
  return shape.batch * shape.key_heads * of_head;
}

TW_HD inline int64 query_tiles(const Shape& shape, const BackwardShape& tiles) {
  return core::ceil_div(shape.queries, tiles.queries);
}

// Numbers of the bias's gradient that a block of finish has.
inline constexpr int64 kBiasPart = 16 * kRowThreads;

TW_HD inline int64 bias_count(const Axes& size) {
  return size.batch * size.head * size.row * size.column;
}

TW_HD inline bool is_short(const Backward& p) {
  return p.plan.tiles.kind == BackwardKind::kShort;
}

// Shares of the gradient of a head's sink, of each sequence.
TW_HD inline int64 sink_shares(const Backward& p) {
  return is_short(p) ? 1 : row_tiles(p.shape);
}

// Tiles of the bias's gradient; where its rows are one, all tiles of queries add to the same.
struct BiasTiles {
  int64 heads, down, across;

  TW_HD int64 count() const { return heads * down * across; }
};

TW_HD inline BiasTiles bias_tiles(const Axes& size, const BackwardShape& tiles) {
  return {size.batch * size.head, core::ceil_div(size.row, int64{tiles.queries}),
          core::ceil_div(size.column, int64{tiles.keys})};
}

// Finish has tiles of the query's gradient, parts of the bias's, and the numbers of single heads.
struct FinishTasks {
  int64 query, bias, heads;
};

TW_HD inline int64 bias_tasks(const Backward& p) {
  if (!p.out.bias) return 0;
  if (p.between.bias_in_tiles) return bias_tiles(p.out.bias_size, p.plan.tiles).count();
  return core::ceil_div(bias_count(p.out.bias_size), kBiasPart);
}

TW_HD inline FinishTasks finish_tasks(const Backward& p) {
  const int64 sinks = p.out.sinks ? 1 : 0, slopes = p.out.slopes ? p.out.slopes_batch : 0;
  return {p.out.query.data && !is_short(p) ? row_tasks(p.shape) : 0, bias_tasks(p),
          p.shape.heads * (slopes + sinks)};
}

}  // namespace tilewise::cuda::sm80
