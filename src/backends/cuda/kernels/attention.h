// A checked call in the form that kernels receive: the structs of problem/problem.h without the
// host's headers. backends/cuda/arguments.cpp makes it, and reads no tensor's memory.
#pragma once

#include "backends/cuda/kernels/tensor.h"
#include "core/mask.h"
#include "core/philox.h"

namespace tilewise::cuda {

using core::uint32;

struct Shape {
  int64 batch, queries, keys;  // of the longest sequence
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
  core::Dropout decide;  // with a `state`, only its threshold counts, not its seed
  int64 base[4];
  const core::uint64* state;  // {seed, offset}, or null
};

struct Scaling {
  Tensor query, key, value, output_gradient;
};

// The argument of the plain kernels forward and probabilities. Backward adds its gradients to it.
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
  Tensor output, lse;                             // inputs
  Tensor query, key, value, bias, slopes, sinks;  // results
  Axes bias_size;      // 1 in a dimension in which the bias was broadcast
  int64 slopes_batch;  // 1 where the slopes were broadcast over the batch
};

// The workspace through which the passes of the plain backward hand sums to each other.
struct RowSums {
  void* known;           // by (b, h, query): see plain/launch.h
  void *slopes, *sinks;  // by (b, h, tile): partial gradients; null if not wanted
};

struct Backward {
  Attention attention;
  Gradients gradients;
  RowSums sums;
};

}  // namespace tilewise::cuda
