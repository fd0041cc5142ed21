// The arguments of the kernels for rotary embedding, appending to a cache and merging.
#pragma once

#include "backends/cuda/kernels/tensor.h"

namespace tilewise::cuda {

using core::uint32;

struct Rotation {
  Tensor cosine, sine;  // rows are positions
  int64 pairs, positions;
  bool interleaved;
};

struct Rotary {
  int64 batch, heads, dim;
  Side side;
  Tensor input, output;
  Rotation rotation;
  Tensor positions;  // of each sequence's first token, by batch; absent: 0
  bool fixed, inverse;
  uint32* error;  // gets bits of tw_fault
};

// New rows of keys and values, and the cache that they are written to.
struct Append {
  int64 batch, key_heads, dim, value_dim;
  Side fresh, cache;
  Tensor key, value, key_cache, value_cache;
  Tensor lengths;     // by batch, before the append
  Rotation rotation;  // absent: no pairs
  uint32* error;
};

struct Part {
  Tensor output, lse;
};

// Chosen so that all arguments fit into the 4 KiB that every driver accepts.
inline constexpr int32 kMostParts = 32;

struct Merge {
  int64 batch, heads, tokens, value_dim;
  int32 parts;
  Tensor output, lse, sinks;
  Part part[kMostParts];
};
static_assert(sizeof(Merge) <= 4096);

}  // namespace tilewise::cuda
