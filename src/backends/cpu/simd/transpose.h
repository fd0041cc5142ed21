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

// Numbers 0 .. count - 1, to say lanes by.
template <int... n>
struct Places {};
template <int count, int... n>
struct PlacesTo : PlacesTo<count - 1, count - 1, n...> {};
template <int... n>
struct PlacesTo<0, n...> {
  using Type = Places<n...>;
};
template <class V, class T>
using PlacesOf = typename PlacesTo<static_cast<int>(sizeof(V) / sizeof(T))>::Type;

// Stretches of `run` lanes of a and b in turn, from the lower or the upper half of each `block`.
constexpr int mixed(int place, int run, int block, bool upper, int count) {
  const int stretch = place % block / run;
  return place / block * block + (upper ? block / 2 : 0) + stretch / 2 * run + place % run +
         stretch % 2 * count;
}

template <int run, int block, bool upper, class V, int... n>
TW_INLINE V mix(V a, V b, Places<n...>) {
  return __builtin_shufflevector(a, b, mixed(n, run, block, upper, sizeof...(n))...);
}

// Lane i becomes the sum of the lanes of x[i]. The steps inside of 16 bytes come first: they are
// the cheap ones.
template <class T, class V, int count, int run = 1>
TW_INLINE V add_across(V (&x)[count]) {
  if constexpr (count == 1) {
    return x[0];
  } else {
    constexpr int kNear = 16 / static_cast<int>(sizeof(T)),
                  kBlock = 2 * run < kNear ? kNear : 2 * run;
    constexpr PlacesOf<V, T> kPlaces;
    V half[count / 2];
    TW_UNROLL for (int i = 0; i < count / 2; ++i) {
      half[i] = mix<run, kBlock, false>(x[2 * i], x[2 * i + 1], kPlaces) +
                mix<run, kBlock, true>(x[2 * i], x[2 * i + 1], kPlaces);
    }
    return add_across<T, V, count / 2, 2 * run>(half);
  }
}

// Lane i becomes lane `first` + i % period.
template <int first, int period, class V, int... n>
TW_INLINE V repeat(V x, Places<n...>) {
  return __builtin_shufflevector(x, x, (first + n % period)...);
}

// The even (or odd) lanes of a, and then of b: what zip puts back.
template <bool odd, class V, int... n>
TW_INLINE V unzip(V a, V b, Places<n...>) {
  return __builtin_shufflevector(a, b, (2 * n + odd)...);
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
