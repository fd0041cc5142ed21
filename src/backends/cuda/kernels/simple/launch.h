// How the simple kernel is launched: what it gets, and sizes that host and kernel share. A block of
// kThreads threads has one tile of queries of one head, sizeof of its memory struct in shared
// memory; there are as many blocks as tiles.
#pragma once

#include "backends/cuda/kernels/attention.h"

namespace tilewise::cuda::simple {

inline constexpr int32 kThreads = 128;
// Blocks that a multiprocessor should hold: one loads while the other computes.
inline constexpr int32 kLeastBlocks = 2;

// Queries and keys of a tile.
inline constexpr int32 kRows = 128, kKeys = 64;

// Rows that are copied in pieces of 16 bytes: strides and sizes are in bytes. The stride of rows is
// small enough for 32 bits to reach across a tile.
struct Rows {
  uint8* data;
  int64 batch, head;  // strides
  int32 row, bytes;   // stride; bytes of a row

  TW_HD uint8* at(int64 b, int64 h, int64 i) const { return data + b * batch + h * head + i * row; }
};
inline constexpr int64 kMostRowStride = int64{1} << 23;

// Lengths and counts of tiles that fit into 32 bits with room to spare.
inline constexpr int64 kMostLength = int64{1} << 29;

// From products to scores in units of log2.
struct Measure {
  float factor;  // scale * log2(e), above 0
  float limit;   // products beyond are held there, as core's to_log2 holds scores
};

struct Forward {
  Shape shape;
  Side queries, keys;
  Rows query, key, value, output;
  Tensor lse;
  Mask mask;  // its band
  Measure measure;
  int32 heads_together;  // heads whose tiles follow each other: the longest of all of them first
  uint32* error;         // gets bits of tw_fault
};

TW_HD inline int64 query_tiles(const Shape& shape) {
  return core::ceil_div(shape.queries, kRows);
}

TW_HD inline int64 forward_tasks(const Shape& shape) {
  return shape.batch * shape.heads * query_tiles(shape);
}

}  // namespace tilewise::cuda::simple
