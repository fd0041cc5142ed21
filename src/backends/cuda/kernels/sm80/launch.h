// How the kernels for tensor cores are launched: what they get, and sizes that host and kernels
// share. A block has one tile of queries of one head, and a split of the keys that they see; it
// takes sizeof of its memory struct in shared memory.
#pragma once

#include "backends/cuda/kernels/attention.h"
#include "backends/cuda/kernels/score/scoring.h"
#include "core/softmax.h"

namespace tilewise::cuda::sm80 {

enum class Kind : int32 {
  kCommon,        // a band, and rows in whole pieces of 16 bytes
  kGeneral,       // every feature, each of which is asked for when it runs
  kShort,         // as common, for few queries or few keys
  kShortGeneral,  // as general, likewise
  kFeatured       // as common, with a set of features compiled in
};

TW_HD constexpr bool is_general(Kind kind) {
  return kind == Kind::kGeneral || kind == Kind::kShortGeneral;
}
TW_HD constexpr bool is_short(Kind kind) {
  return kind == Kind::kShort || kind == Kind::kShortGeneral;
}

// What a variant for head dims up to `dim` is made of. Head dims below are filled up with zeros.
struct Size {
  Kind kind;
  int32 dim;
  int32 rows, keys;  // of a tile
  int32 warps;       // of a block, which share the rows
  int32 stages;      // tiles of keys in shared memory: with two, one comes in while one is used
  int32 blocks;      // that a multiprocessor should hold
  // Of a short row: it serves any number of rows where there are no more keys.
  int32 few_keys = 0;

  TW_HD constexpr int32 threads() const { return warps * 32; }
};
inline constexpr int32 kMostWarps = 4;

// The one table. Of a kind, dims and then rows increase.
inline constexpr Size kTable[] = {
    {Kind::kCommon, 32, 128, 64, 4, 2, 2},       {Kind::kCommon, 48, 128, 64, 4, 2, 2},
    {Kind::kCommon, 64, 128, 64, 4, 2, 2},       {Kind::kCommon, 96, 128, 64, 4, 2, 2},
    {Kind::kCommon, 128, 128, 64, 4, 2, 2},      {Kind::kCommon, 192, 64, 64, 4, 1, 2},
    {Kind::kCommon, 256, 64, 64, 4, 1, 2},       {Kind::kGeneral, 32, 128, 32, 4, 2, 2},
    {Kind::kGeneral, 48, 128, 32, 4, 2, 2},      {Kind::kGeneral, 64, 128, 32, 4, 2, 2},
    {Kind::kGeneral, 96, 128, 32, 4, 2, 2},      {Kind::kGeneral, 128, 128, 32, 4, 2, 2},
    {Kind::kGeneral, 192, 64, 32, 4, 2, 2},      {Kind::kGeneral, 256, 64, 32, 4, 1, 2},
    {Kind::kShort, 64, 32, 32, 1, 1, 8},         {Kind::kShort, 64, 64, 64, 2, 1, 6},
    {Kind::kShort, 64, 128, 64, 4, 2, 3, 512},   {Kind::kShort, 128, 32, 32, 1, 1, 8},
    {Kind::kShort, 128, 64, 64, 2, 1, 4, 128},   {Kind::kShortGeneral, 64, 32, 32, 1, 1, 8},
    {Kind::kShortGeneral, 128, 32, 32, 1, 1, 8}, {Kind::kFeatured, 32, 128, 64, 4, 2, 2},
    {Kind::kFeatured, 64, 128, 64, 4, 2, 2},     {Kind::kFeatured, 96, 128, 64, 4, 2, 2},
    {Kind::kFeatured, 128, 128, 64, 4, 2, 2},    {Kind::kFeatured, 128, 128, 64, 4, 1, 2},
    {Kind::kFeatured, 192, 64, 64, 4, 1, 2},     {Kind::kFeatured, 256, 64, 64, 4, 1, 2}};
inline constexpr int32 kRowsOfForward = sizeof kTable / sizeof kTable[0];
// Those behind them are no variant each, but one for each set of features.
inline constexpr int32 kVariantsOfForward = 21;
static_assert(kTable[kVariantsOfForward - 1].kind != Kind::kFeatured &&
              kTable[kVariantsOfForward].kind == Kind::kFeatured);

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
// Without memory none is left: the output is written at once.
struct Splits {
  int32 count;
  float* output;
  core::Row<float>* rows;
  Tensor merged;  // of any type

  TW_HD bool are_left() const { return output != nullptr; }
};

// A division of numbers below 2^31 by what the host knows, as a product.
struct Divisor {
  int32 by;
  uint32 factor;
  int32 shift;

  TW_HD constexpr int32 divide(int32 a) const {
    return static_cast<int32>((core::uint64{static_cast<uint32>(a) * 2} * factor >> 32) >> shift);
  }
};

// What the host works out of a call once, so that its blocks need not. Heads are groups of those
// that share a tile.
struct Prepared {
  bool is_dense;           // a sequence is a row of the batch, and all are as long as the longest
  bool sees_all;           // there is no band
  int32 tiles, all_heads;  // of a head; of all sequences
  Divisor splits, heads_in_tile, heads_together;
  Divisor tiles_together;  // of heads that go together
  Divisor heads;           // of a sequence
  Divisor group;           // query heads of a key head
};

struct Forward {
  Prepared prepared;
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

// From this architecture on, common variants have no registers left for sinks at their end, and
// leave them to the merge.
inline constexpr int32 kSinksMerged = 120;

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

// The merge: a block has kMergedRows rows of one head, a warp each.
inline constexpr int32 kMergedRows = 4, kMergingThreads = 32 * kMergedRows;

TW_HD inline int64 merge_tasks(const Forward& p) {
  return p.shape.batch * p.shape.heads * core::ceil_div(p.shape.queries, kMergedRows);
}

}  // namespace tilewise::cuda::sm80
