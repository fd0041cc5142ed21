// The table of tile shapes of the backward kernels, a row for each variant. Host and kernels use
// it.
#pragma once

#include "core/base.h"

namespace tilewise::cuda::sm80 {

using core::int32;
using core::int64;

// The kinds of variants:
// - common: a band and sinks, no other feature;
// - masked: boolean and block masks, dropout and (with loads_mask) ALiBi, each enabled by a flag at
//   run time;
// - general: all features, each enabled by a flag at run time, and rows that are not aligned;
// - few: like common, for grids with few blocks: a block has a multiprocessor for itself;
// - short: like common; a block has all keys of a sequence;
// - featured: one kernel for each set of features, with that set compiled in.
enum class BackwardKind : int32 { kCommon, kMasked, kGeneral, kFew, kShort, kFeatured };

// A block has `keys` keys and visits the queries that see them in tiles of `queries`. Its
// key_warps x query_warps warps share the scores of a tile; a warp computes 8 * query_pieces
// queries at a time. For the query's gradient, the warps divide the tile into warps_down parts of
// the rows and warps_across() parts of the columns.
struct BackwardShape {
  int32 dim;  // columns of queries, keys and values, padded with zeros
  int32 queries, keys;
  int32 key_warps, query_warps, query_pieces;
  int32 warps_down;
  int32 incoming_stages;  // for the incoming gradient: 2 (the next tile is prefetched) or 1
  int32 blocks;           // per multiprocessor, the occupancy that registers must allow
  BackwardKind kind;
  bool loads_mask;  // whether the boolean mask is prefetched to shared memory; such rows have ALiBi
  int32 shared_kib;  // shared memory that the GPU must allow a block: 99, 163 or 227 KiB

  TW_HD constexpr int32 warps() const { return key_warps * query_warps; }
  TW_HD constexpr int32 threads() const { return 32 * warps(); }
  TW_HD constexpr int32 warps_across() const { return warps() / warps_down; }
  // A warp's part of the query's gradient, in pieces of 16 rows and 8 columns.
  TW_HD constexpr int32 gradient_down() const { return queries / (16 * warps_down); }
  TW_HD constexpr int32 gradient_across() const { return dim / (8 * warps_across()); }
  // Whether a block of this short variant can take two tiles of keys, one after the other.
  TW_HD constexpr bool takes_two_tiles() const {
    return kind == BackwardKind::kShort && keys == 128;
  }
  // In how many parts a warp computes its query gradient. The features of a large general kernel
  // leave no registers for all accumulators at once.
  TW_HD constexpr int32 gradient_parts() const {
    return kind == BackwardKind::kGeneral && queries * dim / threads() >= 64 ? 4 : 1;
  }
};

// The host takes the first row of a kind that is at least as wide as the head and fits into the
// shared memory of a block. A masked row must also have loads_mask if the call has ALiBi, and a row
// for short sequences must have room for the sequence.
inline constexpr BackwardShape kBackwardShapes[] = {
    {48, 64, 128, 4, 1, 4, 4, 1, 2, BackwardKind::kCommon, false, 99},
    {64, 64, 128, 4, 1, 4, 2, 1, 2, BackwardKind::kCommon, false, 99},
    {96, 64, 64, 2, 2, 4, 2, 2, 2, BackwardKind::kCommon, false, 99},
    {128, 64, 128, 4, 2, 4, 2, 2, 1, BackwardKind::kCommon, false, 163},
    {128, 64, 64, 2, 4, 2, 2, 1, 1, BackwardKind::kCommon, false, 99},
    {192, 64, 64, 2, 4, 2, 2, 1, 1, BackwardKind::kCommon, false, 163},
    {256, 64, 64, 2, 4, 2, 2, 2, 1, BackwardKind::kCommon, false, 227},
    {256, 32, 32, 2, 2, 2, 1, 1, 1, BackwardKind::kCommon, false, 99},
    {64, 64, 128, 4, 2, 4, 2, 1, 1, BackwardKind::kMasked, true, 99},
    {128, 64, 128, 4, 2, 4, 2, 2, 1, BackwardKind::kMasked, true, 227},
    {128, 64, 128, 4, 2, 4, 2, 2, 1, BackwardKind::kMasked, false, 163},
    {64, 64, 64, 2, 4, 2, 2, 2, 2, BackwardKind::kGeneral, false, 99},
    {128, 64, 64, 2, 4, 2, 2, 1, 1, BackwardKind::kGeneral, false, 99},
    {256, 64, 64, 2, 4, 2, 2, 1, 1, BackwardKind::kGeneral, false, 227},
    {256, 64, 32, 1, 4, 2, 2, 1, 1, BackwardKind::kGeneral, false, 163},
    {64, 64, 128, 4, 2, 4, 2, 2, 1, BackwardKind::kFew, false, 99},
    {64, 16, 16, 1, 1, 2, 1, 1, 12, BackwardKind::kShort, false, 99},
    {64, 32, 32, 2, 1, 4, 2, 1, 6, BackwardKind::kShort, false, 99},
    {64, 64, 64, 4, 1, 4, 4, 1, 3, BackwardKind::kShort, false, 99},
    {64, 64, 128, 4, 1, 4, 2, 1, 2, BackwardKind::kShort, false, 99},
    {128, 16, 16, 1, 1, 2, 1, 1, 8, BackwardKind::kShort, false, 99},
    {128, 32, 32, 2, 2, 2, 2, 1, 4, BackwardKind::kShort, false, 99},
    {128, 64, 64, 4, 1, 4, 4, 1, 2, BackwardKind::kShort, false, 99},
    {128, 64, 128, 4, 2, 4, 2, 2, 1, BackwardKind::kShort, false, 163},
    {64, 64, 128, 4, 2, 4, 2, 1, 1, BackwardKind::kFeatured, false, 227},
    {128, 64, 128, 4, 2, 4, 2, 2, 1, BackwardKind::kFeatured, false, 227},
    {256, 64, 64, 2, 4, 2, 2, 1, 1, BackwardKind::kFeatured, false, 227},
};
inline constexpr int32 kRowsOfBackward = sizeof kBackwardShapes / sizeof kBackwardShapes[0];
// The number of rows before the featured ones, which come last.
inline constexpr int32 kVariantsOfBackward = 24;

// Whether `finish` can read the sums of all rows but the short ones two pieces at a time.
TW_HD constexpr bool have_even_sums() {
  for (const BackwardShape& shape : kBackwardShapes)
    if (shape.kind != BackwardKind::kShort &&
        (shape.gradient_across() % 2 != 0 || shape.query_pieces % 2 != 0))
      return false;
  return true;
}
static_assert(have_even_sums());
static_assert(kBackwardShapes[kVariantsOfBackward - 1].kind != BackwardKind::kFeatured &&
              kBackwardShapes[kVariantsOfBackward].kind == BackwardKind::kFeatured);

// In the workspace each sequence begins at a multiple of this many rows. Each task of the kernels
// `rows` and `finish` has this many queries.
inline constexpr int32 kBackwardRows = 64;

// The order of the sums in the workspace: the numbers of a tile are in the order of the threads'
// accumulators, so that a warp's atomics go to contiguous memory. With `four`, the four numbers of
// a piece are adjacent, because one instruction adds all four.
struct SumOrder {
  int32 threads;
  bool four;

  TW_HD constexpr int32 place(int32 piece, int32 thread, int32 i) const {
    return piece * threads * 4 + (four ? thread * 4 + i : i * threads + thread);
  }
};

}  // namespace tilewise::cuda::sm80
