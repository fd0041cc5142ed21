// The arguments of the tensor-core kernels for forward, and sizes that host and kernels share. A
// block has one tile of queries of one head (or of the heads that share a tile), and one split of
// the keys that they see; its dynamic shared memory is sizeof(Traits::Memory).
#pragma once

#include "backends/cuda/kernels/attention.h"
#include "backends/cuda/kernels/score/scoring.h"
#include "core/softmax.h"

namespace tilewise::cuda::sm80 {

enum class Kind : int32 {
  kCommon,        // a band and sinks; rows of whole 16-byte pieces
  kGeneral,       // all features, tested at run time; pages; rows of any alignment
  kShort,         // like common, with small tiles for few queries or keys
  kShortGeneral,  // like general, with small tiles
  kFeatured       // like common, with an exact set of features compiled in
};

TW_HD constexpr bool is_general(Kind kind) {
  return kind == Kind::kGeneral || kind == Kind::kShortGeneral;
}
TW_HD constexpr bool is_short(Kind kind) {
  return kind == Kind::kShort || kind == Kind::kShortGeneral;
}

// A row of the table: a variant for head dims up to `dim`. Smaller head dims are padded with zeros.
struct Size {
  Kind kind;
  int32 dim;
  int32 rows, keys;  // per tile
  int32 warps;       // per block; they divide the rows
  int32 stages;      // buffers for tiles of keys, and for values; with two, the next is prefetched
  int32 blocks;      // per multiprocessor, for __launch_bounds__
  // Short variants only: with at most so many keys, and a head dim above 3/4 of `dim`, the variant
  // serves any number of rows, too.
  int32 few_keys = 0;

  TW_HD constexpr int32 threads() const { return warps * 32; }
};

// The table of variants. Within a kind, rows are sorted by dim, then by rows.
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
// The featured rows behind these are not variants by themselves: each set of features makes one.
inline constexpr int32 kVariantsOfForward = 21;
static_assert(kTable[kVariantsOfForward - 1].kind != Kind::kFeatured &&
              kTable[kVariantsOfForward].kind == Kind::kFeatured);

// Rows of a tensor, each from its first column on. Strides and sizes are in bytes.
struct Rows {
  uint8* data;
  int64 batch, head, row;  // strides
  int32 bytes;             // of a row
  bool in_pieces;          // rows are 16-byte aligned, and whole 16-byte pieces

  TW_HD uint8* at(int64 b, int64 h, int64 i) const { return data + b * batch + h * head + i * row; }
};

// The largest lengths, and row strides in bytes, with which kernels can compute in 32 bits without
// overflow. The host checks them.
inline constexpr int64 kMostLength = int64{1} << 29, kMostStride = int64{1} << 30;

// The partial results of the splits for the merge: running rows by (split, b, h, query), and the
// splits' outputs. Null pointers if there is no merge: then the output is written directly.
struct Splits {
  int32 count;
  float* output;
  core::Row<float>* rows;
  Tensor merged;  // the final output, of any dtype

  TW_HD bool are_left() const { return output != nullptr; }
};

// Division by a number that the host knows, as a multiplication. For dividends from 0 to 2^31 - 1.
struct Divisor {
  int32 by;
  uint32 factor;
  int32 shift;

  TW_HD constexpr int32 divide(int32 a) const {
    return static_cast<int32>((core::uint64{static_cast<uint32>(a) * 2} * factor >> 32) >> shift);
  }
};

// What the host computes once per call, so that blocks need not. "Heads" here means groups of query
// heads that share a tile.
struct Prepared {
  bool is_dense;           // each sequence is a batch row of full length
  bool sees_all;           // there is no band
  int32 tiles, all_heads;  // per head; over all sequences
  Divisor splits, heads_in_tile, heads_together;
  Divisor tiles_together;  // heads_together * tiles
  Divisor heads;           // per sequence
  Divisor group;           // query heads per key head
};

struct Forward {
  Prepared prepared;
  Shape shape;
  Side queries, keys;
  Rows query, key, value, output;
  Tensor lse;
  score::Scoring scoring;
  Splits splits;
  int32 heads_in_tile;   // heads of one key head that share a tile: row = query * this + head
  int32 heads_together;  // heads launched as a bunch: the longest tiles of all of them first
  uint32* error;         // receives bits of tw_fault
};

// From this architecture (12.0) on, common and short variants leave sinks to the merge: the common
// ones lack the registers for them in their epilogue, and the short ones follow the same rule.
inline constexpr int32 kSinksMerged = 120;

// Tiles of a head, or of the heads that share a tile, if a tile has `rows` rows.
TW_HD inline int64 query_tiles(const Forward& p, int32 rows) {
  return core::ceil_div(p.shape.queries * p.heads_in_tile, rows);
}

TW_HD inline int64 forward_tasks(const Forward& p, int32 rows) {
  return p.shape.batch * (p.shape.heads / p.heads_in_tile) * query_tiles(p, rows) * p.splits.count;
}

TW_HD inline int64 row_place(const Forward& p, int64 split, int64 b, int64 h, int64 i) {
  return ((split * p.shape.batch + b) * p.shape.heads + h) * p.shape.queries + i;
}

// The merge kernel: a block has kMergedRows rows of one head, one per warp.
inline constexpr int32 kMergedRows = 4, kMergingThreads = 32 * kMergedRows;

TW_HD inline int64 merge_tasks(const Forward& p) {
  return p.shape.batch * p.shape.heads * core::ceil_div(p.shape.queries, kMergedRows);
}

}  // namespace tilewise::cuda::sm80
