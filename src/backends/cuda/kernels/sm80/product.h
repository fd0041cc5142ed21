// A warp's matrix product: accumulators in registers, fragments supplied by the caller. All
// products of the tensor-core kernels, forward and backward, use this loop.
#pragma once

#include "backends/cuda/device/matrix.h"
#include "backends/cuda/kernels/score/sums.h"

namespace tilewise::cuda::sm80 {

using score::Sums;

// sums += left * right over 16 * `steps` inner elements. left(m, k) returns the fragment of rows 16
// m .. 16 m + 15 at step k; right(n, k) that of columns 16 n .. 16 n + 15, as two halves of 8.
//
// Fragments are double buffered: those of the next step are loaded during the current one. With one
// set of registers every fourth mma waits for its ldmatrix, and ptxas does not create a second set
// by itself. There are two nested loops because ptxas does not unroll a single long one.
template <DType type, int32 steps>
struct Product {
  template <class Sums, class Left, class Right>
  TW_DEVICE static void add(Sums& sums, const Left& left, const Right& right) {
    constexpr int32 kPairs = Sums::kAcross / 2, kLast = kPairs > 1 ? kPairs - 2 : 0;
    Fragment rows[2][Sums::kDown], columns[2];
    TW_UNROLL
    for (int32 m = 0; m < Sums::kDown; ++m) rows[0][m] = left(m, 0);
    columns[0] = right(0, 0);
    TW_UNROLL
    for (int32 k = 0; k < steps; ++k) {
      TW_UNROLL
      for (int32 n = 0; n < kPairs; ++n) {
        const int32 now = k * kPairs + n, next = now + 1;
        if (next < steps * kPairs) columns[next % 2] = right(next % kPairs, next / kPairs);
        if (n == kLast && k + 1 < steps) {
          TW_UNROLL
          for (int32 m = 0; m < Sums::kDown; ++m) rows[(k + 1) % 2][m] = left(m, k + 1);
        }
        add_pair(sums, rows[k % 2], columns[now % 2], n);
      }
    }
  }

 private:
  template <class Sums>
  TW_DEVICE static void add_pair(Sums& sums, const Fragment (&rows)[Sums::kDown],
                                 const Fragment& columns, int32 n) {
    TW_UNROLL
    for (int32 m = 0; m < Sums::kDown; ++m) {
      multiply<type>(sums.at[m][2 * n], rows[m], {columns.pair[0], columns.pair[1]});
      multiply<type>(sums.at[m][2 * n + 1], rows[m], {columns.pair[2], columns.pair[3]});
    }
  }
};

}  // namespace tilewise::cuda::sm80
