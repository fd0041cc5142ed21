// Adds a bias to a warp's scores: from a tile in shared memory, or element by element.
#pragma once

#include "backends/cuda/device/convert.h"
#include "backends/cuda/kernels/element.h"
#include "backends/cuda/kernels/score/shape.h"

namespace tilewise::cuda::score {

// Element `number` of a pair: 0 is the lower half, 1 the upper.
template <DType type>
TW_DEVICE float half_of(uint32 pair, int32 number) {
  const auto code = static_cast<uint16>(number == 0 ? pair & 0xFFFF : pair >> 16);
  return type == DType::kBFloat16 ? from_bfloat16(code) : from_float16(code);
}

// Adds a bias from a tile in shared memory that has a row per query and the inputs' type. It is
// read like an operand of a product: `lane` is the lane's address in the tile, by Tile::down, at
// the warp's first query and key. Scores must have queries down.
template <DType type, class Tile, class Scores>
TW_DEVICE void add_bias(SharedAddress lane, Scores& scores) {
  TW_UNROLL
  for (int32 m = 0; m < Scores::kDown; ++m) {
    TW_UNROLL
    for (int32 n = 0; n < Scores::kAcross; n += 2) {
      const Fragment f = load_matrices(Tile::moved(lane, m * 16, n / 2));
      TW_UNROLL
      for (int32 j = 0; j < 8; ++j)
        add_bias_within(scores.at[m][n + j / 4][j % 4], half_of<type>(f.pair[j / 2], j % 2));
    }
  }
}

// A rectangle of a bias of any type and layout: `queries` by `keys` elements from (b, h, query,
// key) on.
struct BiasPart {
  const Tensor& bias;
  int64 b, h;
  int32 query, key, queries, keys;
};

// Copies the warp's rectangle to shared memory as floats, with zeros beyond its end.
template <int32 rows, int32 columns>
TW_DEVICE void gather_bias(const BiasPart& from, float (&to)[rows][columns]) {
  warp_barrier();
  TW_ROLLED
  for (int32 x = lane_index(); x < rows * columns; x += kWarp) {
    const int32 i = x / columns, j = x % columns;
    float number = 0;
    if (i < from.queries && j < from.keys)
      number =
          load<float>(from.bias, from.bias.offset(from.b, from.h, from.query + i, from.key + j));
    to[i][j] = number;
  }
  warp_barrier();
}

// Adds the floats in `from`, which gather_bias copied, to pieces first to first + columns / 8 - 1
// across the scores. Scores must have queries down.
template <int32 rows, int32 columns, class Scores>
TW_DEVICE void add_gathered(const float (&from)[rows][columns], int32 first, Scores& scores) {
  const int32 lane = lane_index();
  TW_UNROLL
  for (int32 m = 0; m < Scores::kDown; ++m) {
    TW_UNROLL
    for (int32 n = 0; n < columns / 8; ++n) {
      TW_UNROLL
      for (int32 i = 0; i < 4; ++i)
        add_bias_within(scores.at[m][first + n][i],
                        from[16 * m + 8 * (i / 2) + lane / 4][8 * n + 2 * (lane & 3) + i % 2]);
    }
  }
}

}  // namespace tilewise::cuda::score
