// The tiles of the backward kernel: a row of one table for each of its size classes. Host and
// kernel share them.
#pragma once

#include "core/base.h"

namespace tilewise::cuda::sm80 {

using core::int32;
using core::int64;

// What a kernel knows beside a band, and which each call asks for by flags: nothing; masks and
// dropout; or every feature, and rows that begin anywhere. For few blocks there is one as common,
// whose blocks have a multiprocessor for themselves. Short ones know as much, and a block has all
// keys of a sequence. Featured ones have a set of features compiled in: such a row is a kernel for
// each set.
enum class BackwardKind : int32 { kCommon, kMasked, kGeneral, kFew, kShort, kFeatured };

// A block has `keys` keys, and meets the queries that see them in tiles of `queries`. Scores are
// transposed: of a tile, each of key_warps x query_warps warps has 8 * query_pieces queries at a
// time. Of the query's gradient, warps_down of the warps share the rows, the others the columns.
struct BackwardShape {
  int32 dim;  // of queries, keys and values, filled up with zeros
  int32 queries, keys;
  int32 key_warps, query_warps, query_pieces;
  int32 warps_down;
  int32 incoming_stages;  // tiles of the arriving gradient: 2, the next one on its way; or 1
  int32 blocks;           // that a multiprocessor should hold
  BackwardKind kind;
  bool brings_mask;  // a boolean mask comes to shared memory a turn ahead, and ALiBi has room, too
  int32 shared_kib;  // what a block needs: parts of 99, 163 and 227 KiB are there

  TW_HD constexpr int32 warps() const { return key_warps * query_warps; }
  TW_HD constexpr int32 threads() const { return 32 * warps(); }
  // Of the query's gradient, in pieces of 16 rows and of 8 columns a warp.
  TW_HD constexpr int32 warps_across() const { return warps() / warps_down; }
  TW_HD constexpr int32 gradient_down() const { return queries / (16 * warps_down); }
  TW_HD constexpr int32 gradient_across() const { return dim / (8 * warps_across()); }
  // Of short tiles: whether a block takes twice as many keys, one tile after the other.
  TW_HD constexpr bool takes_twice() const { return kind == BackwardKind::kShort && keys == 128; }
  // So many parts of it one after the other: features leave a thread no room for all of its sums.
  TW_HD constexpr int32 gradient_parts() const {
    return kind == BackwardKind::kGeneral && queries * dim / threads() >= 64 ? 4 : 1;
  }
};

// Of one kind the next that is as wide as a head, and then the first that fits into a block's
// memory; of short ones the first that has room for a sequence, too.
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
// Those before the featured ones, which come last.
inline constexpr int32 kVariantsOfBackward = 24;
static_assert(kBackwardShapes[kVariantsOfBackward - 1].kind != BackwardKind::kFeatured &&
              kBackwardShapes[kVariantsOfBackward].kind == BackwardKind::kFeatured);
inline constexpr int32 kMostBackwardDim = 256;

// Rows of a sequence begin at a multiple of this in the workspace, and as many are done at a time
// before and after the kernel.
inline constexpr int32 kBackwardRows = 64;

// Where the query's gradient is summed: a tile of `queries` rows has queries * dim numbers in the
// order in which threads have them, so that a warp adds to memory that hangs together. `four` adds
// of a thread lie side by side where one instruction makes all of them.
struct SumOrder {
  int32 threads;
  bool four;

  TW_HD constexpr int32 place(int32 piece, int32 thread, int32 i) const {
    return piece * threads * 4 + (four ? thread * 4 + i : i * threads + thread);
  }
};

}  // namespace tilewise::cuda::sm80
