// The softmax of one query over a tile of keys. Its scores lie side by side, so lanes are keys
// here, and a vector has as many exponentials as it has room for.
#pragma once

#include "backends/cpu/kernel/forward.h"
#include "backends/cpu/simd/transpose.h"

namespace tilewise::cpu {

// The lanes that are `step` away from where they were.
template <int step>
struct Across {
  static constexpr int from(int n, int) { return n ^ step; }
};

template <class Isa, class T>
struct DecodeOne {
  using L = Lanes<Isa, T>;
  using V = typename L::V;
  using F = Forward<Isa, T>;
  static constexpr int64 kLanes = L::kCount;
  // Vectors that are raised at once.
  static constexpr int kAtOnce = 4;
  static constexpr int64 kStep = kAtOnce * kLanes;

  // All lanes become join(join(..), ..) of all lanes.
  template <int step = 1, class Join>
  TW_INLINE static V joined(V x, Join join) {
    if constexpr (step == kLanes)
      return x;
    else
      return joined<2 * step>(join(x, mix<Across<step>>(x, x)), join);
  }

  // Scores up to here: whole steps. What lies behind the last key is hidden.
  TW_INLINE static int64 hide(const DecodeOneArgs<T>& a) {
    const int64 whole = (a.keys + kStep - 1) / kStep * kStep;
    for (int64 n = a.keys; n < whole; ++n) a.scores[n] = -kInfinity<T>;
    return whole;
  }

  // The largest score, in all lanes. A NaN is not seen: it goes into the sum.
  TW_INLINE static V largest(const T* scores, int64 whole) {
    V most[kAtOnce];
    TW_UNROLL for (int i = 0; i < kAtOnce; ++i) most[i] = all<V>(-kInfinity<T>);
    for (int64 n = 0; n < whole; n += kStep) {
      TW_UNROLL for (int i = 0; i < kAtOnce; ++i) most[i] =
          larger(most[i], load<V>(scores + n + i * kLanes));
    }
    return joined(larger(larger(most[0], most[1]), larger(most[2], most[3])),
                  [](V x, V y) TW_INLINE_LAMBDA { return larger(x, y); });
  }

  // As Forward::map where a score is the product and no more.
  TW_INLINE static void map(const DecodeOneArgs<T>& a) {
    for (int64 n = 0; n < a.keys; n += kLanes)
      store(a.scores + n, F::to_log2(F::finite(load<V>(a.scores + n) * all<V>(a.scale))));
  }

  // Scores less `shift` become weights. Returns their sum, in all lanes. A key's place tells alone
  // which sum it joins, so that hidden keys behind it change no bit.
  TW_INLINE static V weigh(T* scores, int64 whole, V unit, V shift) {
    V sum[kAtOnce] = {};
    for (int64 n = 0; n < whole; n += kStep) {
      V x[kAtOnce];
      TW_UNROLL for (int i = 0; i < kAtOnce; ++i) x[i] =
          load<V>(scores + n + i * kLanes) * unit - shift;
      exp2<Isa, T>(x);
      TW_UNROLL for (int i = 0; i < kAtOnce; ++i) {
        sum[i] += x[i];
        store(scores + n + i * kLanes, x[i]);
      }
    }
    return joined((sum[0] + sum[1]) + (sum[2] + sum[3]),
                  [](V x, V y) TW_INLINE_LAMBDA { return x + y; });
  }

  static void raise(const DecodeOneArgs<T>& a) {
    const int64 whole = hide(a);
    V unit = all<V>(a.unit), most = largest(a.scores, whole);
    if (any(F::unusual(most, all<V>(a.limit)))) {
      map(a);
      hide(a);
      most = largest(a.scores, whole);
      unit = all<V>(T(1));
    }
    const V before = all<V>(*a.row.max), max = larger(before, most * unit);
    const V shift = max == all<V>(-kInfinity<T>) ? V{} : max;
    const V factor = exp2<Isa, T>(before - shift);
    const V sum = all<V>(*a.row.sum) * factor + weigh(a.scores, whole, unit, shift);
    *a.row.max = max[0];
    *a.row.factor = factor[0];
    *a.row.sum = sum[0];
  }
};

}  // namespace tilewise::cpu
