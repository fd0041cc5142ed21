// Squares of registers turned on their side.
#pragma once

#include "backends/cpu/kernels.h"
#include "backends/cpu/simd/vector.h"

namespace tilewise::cpu {

// The lower (or upper) halves of a and b, lane by lane in turn.
template <bool upper, class V>
TW_INLINE V zip(V a, V b) {
  constexpr int kCount = sizeof(V) / sizeof(a[0]);
  constexpr int kFrom = upper ? kCount / 2 : 0;
  if constexpr (kCount == 2) {
    return __builtin_shufflevector(a, b, kFrom, kFrom + 2);
  } else if constexpr (kCount == 4) {
    return __builtin_shufflevector(a, b, kFrom, kFrom + 4, kFrom + 1, kFrom + 5);
  } else if constexpr (kCount == 8) {
    return __builtin_shufflevector(a, b, kFrom, kFrom + 8, kFrom + 1, kFrom + 9, kFrom + 2,
                                   kFrom + 10, kFrom + 3, kFrom + 11);
  } else {
    static_assert(kCount == 16);
    return __builtin_shufflevector(a, b, kFrom, kFrom + 16, kFrom + 1, kFrom + 17, kFrom + 2,
                                   kFrom + 18, kFrom + 3, kFrom + 19, kFrom + 4, kFrom + 20,
                                   kFrom + 5, kFrom + 21, kFrom + 6, kFrom + 22, kFrom + 7,
                                   kFrom + 23);
  }
}

// Zipping the first half of the rows with the second does one step in log2(count).
template <class V, int count>
TW_INLINE void transpose(V (&square)[count]) {
  TW_UNROLL for (int step = 1; step < count; step *= 2) {
    V next[count];
    TW_UNROLL for (int i = 0; i < count / 2; ++i) {
      next[2 * i] = zip<false>(square[i], square[i + count / 2]);
      next[2 * i + 1] = zip<true>(square[i], square[i + count / 2]);
    }
    TW_UNROLL for (int i = 0; i < count; ++i) square[i] = next[i];
  }
}

// Row r of `from` becomes column r of `to`, for whole squares of a vector's width: `rows` and
// `columns` are multiples of it.
template <class Isa, class T>
TW_INLINE void turn(Matrix<const T> from, Matrix<T> to, int64 rows, int64 columns) {
  using V = typename Lanes<Isa, T>::V;
  constexpr int kCount = Lanes<Isa, T>::kCount;
  for (int64 r = 0; r < rows; r += kCount) {
    for (int64 c = 0; c < columns; c += kCount) {
      V square[kCount];
      TW_UNROLL for (int i = 0; i < kCount; ++i) {
        square[i] = load<V>(from.data + (r + i) * from.pitch + c);
      }
      transpose(square);
      TW_UNROLL for (int i = 0; i < kCount; ++i) store(to.data + (c + i) * to.pitch + r, square[i]);
    }
  }
}

}  // namespace tilewise::cpu
