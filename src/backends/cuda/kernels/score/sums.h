// Accumulators of a warp's product (mma.sync, in pieces of 16 x 8), and the query and key that each
// register belongs to. The steps on scores in the other files here work on this layout.
#pragma once

#include "backends/cuda/device/thread.h"

namespace tilewise::cuda::score {

// A warp's accumulators: `down` x `across` pieces of 16 x 8. Register at[m][n][i] of a lane is row
// 16 m + 8 (i / 2) + lane / 4, column 8 n + 2 (lane % 4) + i % 2. All indices are compile-time
// constants, so that the array stays in registers.
template <int32 down, int32 across>
struct Sums {
  static constexpr int32 kDown = down, kAcross = across;
  // Each lane has a part of these rows: row 8 r + lane / 4 for each r.
  static constexpr int32 kRowsOfLane = 2 * down;

  // Calls body(number, column) for the lane's numbers in its row r; columns count from the lane's
  // first.
  template <class Body>
  TW_DEVICE void each_of_row(int32 r, const Body& body) {
    TW_UNROLL
    for (int32 n = 0; n < across; ++n) {
      body(at[r / 2][n][r % 2 * 2], 8 * n);
      body(at[r / 2][n][r % 2 * 2 + 1], 8 * n + 1);
    }
  }

  // Calls body(four, m, n) for the lane's four numbers of each piece.
  template <class Body>
  TW_DEVICE void each_piece(const Body& body) {
    TW_UNROLL
    for (int32 m = 0; m < down; ++m) {
      TW_UNROLL
      for (int32 n = 0; n < across; ++n) body(at[m][n], m, n);
    }
  }

  TW_DEVICE void clear() {
    each_piece([](float(&four)[4], int32, int32) {
      TW_UNROLL
      for (float& sum : four) sum = 0;
    });
  }

  float at[down][across][4];
};

// Calls body(r) for each of the lane's rows.
template <class Sums, class Body>
TW_DEVICE void for_each_row_of_lane(const Body& body) {
  TW_UNROLL
  for (int32 r = 0; r < Sums::kRowsOfLane; ++r) body(r);
}

// The orientation of scores in a warp's accumulators. Forward has queries down and keys across;
// backward has the transpose.
enum class Lie { kQueriesDown, kKeysDown };

// The query and key of a lane's first register. The offsets of its other registers are the same in
// every lane, and compile-time constants.
template <Lie lie>
struct Corner {
  static constexpr bool kTransposed = lie == Lie::kKeysDown;
  int32 query, key;

  // For this lane, if the warp's first score belongs to `query` and `key`.
  TW_DEVICE static Corner of(int32 query, int32 key, int32 lane) {
    const int32 down = lane >> 2, across = 2 * (lane & 3);
    return {query + (kTransposed ? across : down), key + (kTransposed ? down : across)};
  }

  // The offset from the lane's first register to register i of piece (m, n).
  TW_DEVICE static constexpr int32 queries_to(int32 m, int32 n, int32 i) {
    return kTransposed ? 8 * n + (i & 1) : 16 * m + 8 * (i >> 1);
  }
  TW_DEVICE static constexpr int32 keys_to(int32 m, int32 n, int32 i) {
    return kTransposed ? 16 * m + 8 * (i >> 1) : 8 * n + (i & 1);
  }

  // The lane's index along the dimension that runs down, and along the one across.
  TW_DEVICE int32 down() const { return kTransposed ? key : query; }
  TW_DEVICE int32 across() const { return kTransposed ? query : key; }
};

}  // namespace tilewise::cuda::score
