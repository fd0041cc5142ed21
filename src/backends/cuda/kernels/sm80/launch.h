// How the kernels for tensor cores are launched: what they get, and sizes that host and kernels
// share. A block of kThreads threads has one tile of queries of one head, and a split of the keys
// that they see; it takes sizeof of its memory struct in shared memory.
#pragma once

#include "backends/cuda/kernels/attention.h"
#include "backends/cuda/kernels/score/scoring.h"
#include "core/softmax.h"

namespace tilewise::cuda::sm80 {

inline constexpr int32 kThreads = 128, kWarps = 4;

// What a kernel for head dims up to `dim` is made of. Head dims below are filled up with zeros.
struct Size {
  int32 dim;
  int32 rows, keys;  // of a tile
  int32 stages;      // tiles of keys in shared memory: with two, one comes in while one is used
  int32 blocks;      // that a multiprocessor should hold
};

// With a band, for rows in whole pieces of 16 bytes.
inline constexpr Size kCommon[] = {{32, 128, 64, 2, 2}, {48, 128, 64, 2, 2},  {64, 128, 64, 2, 2},
                                   {96, 128, 64, 2, 2}, {128, 128, 64, 2, 2}, {192, 64, 64, 1, 2},
                                   {256, 64, 64, 1, 2}};
// With every feature, each of which is asked for when it runs.
inline constexpr Size kGeneral[] = {{32, 128, 32, 2, 2}, {48, 128, 32, 2, 2},  {64, 128, 32, 2, 2},
                                    {96, 128, 32, 2, 2}, {128, 128, 32, 2, 2}, {192, 64, 32, 2, 2},
                                    {256, 64, 32, 1, 2}};
inline constexpr int32 kSizes = sizeof kCommon / sizeof kCommon[0];
static_assert(sizeof kGeneral == sizeof kCommon);

TW_HD constexpr const Size& size_of(int32 number, bool is_general) {
  return is_general ? kGeneral[number] : kCommon[number];
}

// Rows of a tensor, which begin with its first column: strides and sizes are in bytes.
struct Rows {
  uint8* data;
  int64 batch, head, row;  // strides
  int32 bytes;             // of a row
  bool in_pieces;          // rows begin at 16 bytes, and are whole pieces of as many

  TW_HD uint8* at(int64 b, int64 h, int64 i) const { return data + b * batch + h * head + i * row; }
};

// Lengths and counts of tiles that fit into 32 bits with room to spare; and strides.
inline constexpr int64 kMostLength = int64{1} << 29, kMostStride = int64{1} << 30;

// What a split of the keys leaves for the merge: rows by (split, b, h, query), and their outputs.
struct Splits {
  int32 count;  // 1: none is left, the output is written at once
  float* output;
  core::Row<float>* rows;
};

struct Forward {
  Shape shape;
  Side queries, keys;
  Rows query, key, value, output;
  Tensor lse;
  score::Scoring scoring;
  Splits splits;
  int32 heads_in_tile;   // rows of a tile: so many heads of each query, which share a key head
  int32 heads_together;  // heads whose tiles follow each other: the longest of all of them first
  uint32* error;         // gets bits of tw_fault
};

// Of a forward whose tiles have `rows` rows.
TW_HD inline int64 query_tiles(const Forward& p, int32 rows) {
  return core::ceil_div(p.shape.queries * p.heads_in_tile, rows);
}

TW_HD inline int64 forward_tasks(const Forward& p, int32 rows) {
  return p.shape.batch * (p.shape.heads / p.heads_in_tile) * query_tiles(p, rows) * p.splits.count;
}

TW_HD inline int64 row_place(const Forward& p, int64 split, int64 b, int64 h, int64 i) {
  return ((split * p.shape.batch + b) * p.shape.heads + h) * p.shape.queries + i;
}

// The merge: a block has kMergedRows rows of one head.
inline constexpr int32 kMergedRows = 4;

TW_HD inline int64 merge_tasks(const Forward& p) {
  return p.shape.batch * p.shape.heads * core::ceil_div(p.shape.queries, kMergedRows);
}

}  // namespace tilewise::cuda::sm80
