// What one variant of the simple kernel is made of.
#pragma once

#include "backends/cuda/kernels/simple/head.h"
#include "backends/cuda/kernels/simple/product.h"
#include "backends/cuda/kernels/simple/tile.h"

namespace tilewise::cuda::simple {

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
  // What a lane accumulates. Its share of a row's sum is added to the other lanes' at the end; the
  // row's reference is the head's.
  struct Running {
    Output output;
    float sum[Output::kRowsOfLane];
  };
  struct Memory {
    QueryTile query;  // in the end, the output on its way out
    KeyTile key[kStages], value[kStages];
    Head head;
  };
};

}  // namespace tilewise::cuda::simple
