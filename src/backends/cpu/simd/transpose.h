// Shuffles: transposes of squares of registers, and sums across lanes.
#pragma once

#include "backends/cpu/kernels.h"
#include "backends/cpu/simd/vector.h"

namespace tilewise::cpu {

// The lanes 0 .. count - 1 as a parameter pack, for __builtin_shufflevector.
template <int... n>
struct Places {};
template <int count, int... n>
struct PlacesTo : PlacesTo<count - 1, count - 1, n...> {};
template <int... n>
struct PlacesTo<0, n...> {
  using Type = Places<n...>;
};

template <class Order, class V, int... n>
TW_INLINE V mix_at(V a, V b, Places<n...>) {
  return __builtin_shufflevector(a, b, Order::from(n, sizeof...(n))...);
}

// A vector whose lane n is lane Order::from(n, lanes) of a followed by b.
template <class Order, class V>
TW_INLINE V mix(V a, V b) {
  constexpr int kLanes = sizeof(V) / sizeof(a[0]);
  return mix_at<Order>(a, b, typename PlacesTo<kLanes>::Type());
}

// A shuffle that interleaves a and b: `run` lanes of a, `run` lanes of b, and so on, from the lower
// or the upper half of each block of `block` lanes.
template <int run, int block, bool upper>
struct Alternating {
  static constexpr int from(int n, int lanes) {
    const int stretch = n % block / run;
    return n / block * block + (upper ? block / 2 : 0) + stretch / 2 * run + n % run +
           stretch % 2 * lanes;
  }
};

// A shuffle that takes the even (or odd) lanes of a, then those of b. zip() is its inverse.
template <bool odd>
struct EveryOther {
  static constexpr int from(int n, int) { return 2 * n + odd; }
};

// A shuffle that repeats the `period` lanes from `first` on.
template <int first, int period>
struct Again {
  static constexpr int from(int n, int) { return first + n % period; }
};

// Interleaves the lower (or upper) halves of a and b, lane by lane.
template <bool upper, class V>
TW_INLINE V zip(V a, V b) {
  return mix<Alternating<1, sizeof(V) / sizeof(a[0]), upper>>(a, b);
}

// Transposes a square in log2(count) steps, each of which zips the first half of the rows with the
// second.
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

// A vector whose lane i is the sum of the lanes of x[i]. The first steps, which handle the most
// vectors, shuffle within blocks of 16 bytes, because such shuffles are cheap.
template <int run = 1, class V, int count>
TW_INLINE V add_across(V (&x)[count]) {
  if constexpr (count == 1) {
    return x[0];
  } else {
    constexpr int kNear = 16 / sizeof(x[0][0]), kBlock = 2 * run < kNear ? kNear : 2 * run;
    V half[count / 2];
    TW_UNROLL for (int i = 0; i < count / 2; ++i) {
      const V a = x[2 * i], b = x[2 * i + 1];
      half[i] =
          mix<Alternating<run, kBlock, false>>(a, b) + mix<Alternating<run, kBlock, true>>(a, b);
    }
    return add_across<2 * run>(half);
  }
}

// Transposes a matrix: row r of `from` becomes column r of `to`. `rows` and `columns` must be
// multiples of Lanes::kCount.
template <class Isa, class T>
TW_INLINE void transpose(Matrix<const T> from, Matrix<T> to, int64 rows, int64 columns) {
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
