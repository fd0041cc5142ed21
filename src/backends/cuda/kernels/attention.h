// A checked call as kernels get it: what problem/problem.h says, in plain structs. Made on the host
// by backends/cuda/arguments.h, which follows no pointer.
#pragma once

#include "backends/cuda/kernels/tensor.h"
#include "core/mask.h"
#include "core/philox.h"

namespace tilewise::cuda {

using core::uint32;

struct Shape {
  int64 batch, queries, keys;  // lengths of the longest sequence
  int64 heads, key_heads, dim, value_dim;
};

enum class Diagonal : int32 { kBottomRight, kTopLeft, kShifted };

struct Mask {
  int64 left, right;
  Diagonal diagonal;
  int64 shift, chunk;
  Tensor visible, blocks;
  int64 block_query, block_key;
};

struct Scores {
  double scale, softcap;
  Tensor slopes, bias, sinks;
};

struct Dropout {
  core::Dropout decide;  // where there is a state, of that threshold and by no seed
  int64 base[4];
  const core::uint64* state;  // {seed, offset}, or null
};

struct Scaling {
  Tensor query, key, value, output_gradient;
};

// Of forward and probabilities; backward has more.
struct Attention {
  Shape shape;
  Side queries, keys;
  Tensor query, key, value, output, lse;
  Mask mask;
  Scores scores;
  Dropout dropout;
  Scaling scaling;
  uint32* error;  // gets bits of tw_fault
};

struct Gradients {
  Tensor output, lse;                             // in
  Tensor query, key, value, bias, slopes, sinks;  // out
  Axes bias_size;                                 // 1 where the bias was broadcast
  int64 slopes_batch;                             // likewise
};

// What passes of backward leave for each other in the workspace.
struct RowSums {
  void* known;           // by (b, h, query): see plain/launch.h
  void *slopes, *sinks;  // by (b, h, tile): shares of the gradients, null where unwanted
};

struct Backward {
  Attention attention;
  Gradients gradients;
  RowSums sums;
};

}  // namespace tilewise::cuda
