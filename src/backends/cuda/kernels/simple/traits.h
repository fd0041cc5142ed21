// What one variant of the simple kernel is made of.
#pragma once

#include "backends/cuda/kernels/simple/head.h"
#include "backends/cuda/kernels/simple/product.h"
#include "backends/cuda/kernels/simple/tile.h"
#include "core/softmax.h"

namespace tilewise::cuda::simple {

// The block's running rows. They lie in shared memory, where each is touched once a tile of keys:
// registers are scarce, and what they hold is touched all the time.
struct RunningRows {
  // The maximum that weights are relative to. It changes seldom.
  float reference[kRows];
  // Each lane's own share of the sums of the rows that it has a part of.
  float sum[2 * kRowsOfWarp / 16][kThreads];
};

// By all threads of the block, each warp its own rows.
TW_DEVICE void clear(RunningRows& rows) {
  static_assert(kRowsOfWarp == kWarp, "each lane has a reference to set");
  rows.reference[thread_index()] = -core::infinity<float>();
  for (float(&sums)[kThreads] : rows.sum) sums[thread_index()] = 0;
}

// The rows that a lane has a part of.
struct RowsOfLane {
  float *reference, *sum;

  TW_DEVICE core::Row<float> at(int32 r) const { return {reference[r * 8], sum[r * kThreads]}; }
  TW_DEVICE void set(int32 r, core::Row<float> row) const {
    reference[r * 8] = row.max;
    sum[r * kThreads] = row.sum;
  }
};

TW_DEVICE RowsOfLane rows_of_lane(RunningRows& rows) {
  const int32 thread = thread_index_anew();
  return {rows.reference + first_row_of(thread), rows.sum[0] + thread};
}

// A warp has kRowsOfWarp queries: its scores with a tile of keys, and its output.
template <DType type, int32 dim>
struct Traits {
  static constexpr DType kType = type;
  static constexpr int32 kDim = dim;  // of queries, keys and values, filled up with zeros
  static constexpr int32 kDown = kRowsOfWarp / 16;
  // Tiles of keys and values in shared memory: one is used while the other comes in.
  static constexpr int32 kStages = 2;
  // Fragments of the queries stay in registers where there is room for them.
  static constexpr bool kHoldsQuery = dim <= 64;

  using QueryTile = Tile<kRows, dim>;
  using KeyTile = Tile<kKeys, dim>;
  using Scores = Sums<kDown, kKeys / 8>;
  using Output = Sums<kDown, dim / 8>;
  using ScoreProduct = Product<type, dim / 16>;
  using OutputProduct = Product<type, kKeys / 16>;

  // Weights as left fragments of the output's product.
  struct Weights {
    Fragment at[kDown][kKeys / 16];
  };
  struct Memory {
    QueryTile query;  // in the end, the output on its way out
    KeyTile key[kStages], value[kStages];
    Head head;
    RunningRows rows;
  };
};

}  // namespace tilewise::cuda::simple
