// Online softmax of one query over a tile of keys. The query's scores are contiguous, so lanes are
// keys here, and each lane computes an exponential.
#pragma once

#include "backends/cpu/kernel/forward.h"
#include "backends/cpu/simd/transpose.h"

namespace tilewise::cpu {

// A shuffle that swaps lanes n and n ^ step.
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
  // Vectors of scores that a loop takes at once.
  static constexpr int kAtOnce = 4;
  static constexpr int64 kStep = kAtOnce * kLanes;

  // Reduces x across its lanes by `join`; every lane gets the result.
  template <int step = 1, class Join>
  TW_INLINE static V joined(V x, Join join) {
    if constexpr (step == kLanes)
      return x;
    else
      return joined<2 * step>(join(x, mix<Across<step>>(x, x)), join);
  }

  // Sets the scores behind the last key to -inf, up to a multiple of kStep, and returns that
  // multiple.
  TW_INLINE static int64 hide(const DecodeOneArgs<T>& a) {
    const int64 whole = (a.keys + kStep - 1) / kStep * kStep;
    for (int64 n = a.keys; n < whole; ++n) a.scores[n] = -kInfinity<T>;
    return whole;
  }

  // The largest score, in every lane. NaN is ignored here; it reaches the sum instead.
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

  // Forward::map for scores that are scale * q.k and nothing else.
  TW_INLINE static void map(const DecodeOneArgs<T>& a) {
    for (int64 n = 0; n < a.keys; n += kLanes)
      store(a.scores + n, F::to_log2(F::finite(load<V>(a.scores + n) * all<V>(a.scale))));
  }

  // Makes weights 2^(score * unit - shift) of scores. Returns the weights' sum, in every lane. A
  // key's index alone decides which partial sum it joins, so hidden keys at the end change no bit.
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
