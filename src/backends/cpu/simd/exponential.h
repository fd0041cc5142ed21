// 2^x and tanh, lane by lane.
#pragma once

#include "backends/cpu/simd/exp2_table.h"

namespace tilewise::cpu {

template <class T>
struct Exponent;
template <>
struct Exponent<float> {
  static constexpr int kMantissa = 23, kBias = 127;
};
template <>
struct Exponent<double> {
  static constexpr int kMantissa = 52, kBias = 1023;
};

// The functions below take several vectors and do each step for all of them: a step waits for the
// one before, so one vector alone would wait for the latency of each.

// The polynomial of 2^r - 1, lowest order first; r is the distance to the nearest whole number.
template <class T>
struct Series;
// The polynomial's error is 8e-8 at most.
template <>
struct Series<float> {
  static constexpr int kTerms = 6;
  static constexpr float kTerm[kTerms] = {0.693147182f,   0.240226462f,   0.0555032864f,
                                          0.00961848907f, 0.00133999321f, 0.000153458051f};
};
// The terms are ln(2)^k / k!.
template <>
struct Series<double> {
  static constexpr int kTerms = 13;
  static constexpr double kTerm[kTerms] = {
      0x1.62e42fefa39efp-1,  0x1.ebfbdff82c58fp-3,  0x1.c6b08d704a0cp-5,   0x1.3b2ab6fba4e77p-7,
      0x1.5d87fe78a6731p-10, 0x1.430912f86c787p-13, 0x1.ffcbfc588b0c7p-17, 0x1.62c0223a5c824p-20,
      0x1.b5253d395e7c4p-24, 0x1.e4cf5158b8ecap-28, 0x1.e8cac7351bb25p-32, 0x1.c3bd650fc2986p-36,
      0x1.816193166d0f9p-40};
};

// Evaluates the polynomial of S at r by Horner's scheme.
template <class S, class V, int count>
TW_INLINE void sum_series(const V (&r)[count], V (&rest)[count]) {
  TW_UNROLL for (int i = 0; i < count; ++i) rest[i] = all<V>(S::kTerm[S::kTerms - 1]);
  TW_UNROLL for (int k = S::kTerms - 2; k >= 0; --k) {
    TW_UNROLL for (int i = 0; i < count; ++i) rest[i] = rest[i] * r[i] + all<V>(S::kTerm[k]);
  }
  TW_UNROLL for (int i = 0; i < count; ++i) rest[i] *= r[i];
}

// x + kMagic has, in its last bits, the whole number nearest to x plus the exponent's bias.
template <class T>
inline constexpr T kMagic = T(int64{3} << (Exponent<T>::kMantissa - 1)) + T(Exponent<T>::kBias);

// The parts of 2^x = power * (1 + rest), where `power` is a power of two.
template <class V>
struct Halves {
  V power, rest;
};

template <class T, class V, int count>
TW_INLINE void halves(const V (&x)[count], Halves<V> (&to)[count]) {
  using U = typename VectorOf<typename SameSize<T>::Unsigned, sizeof(V)>::Type;
  const V magic = all<V>(kMagic<T>);
  V moved[count], r[count], rest[count];
  TW_UNROLL for (int i = 0; i < count; ++i) moved[i] = x[i] + magic;
  TW_UNROLL for (int i = 0; i < count; ++i) r[i] = x[i] - (moved[i] - magic);
  sum_series<Series<T>>(r, rest);
  // If x is NaN, `power` is arbitrary, and `rest` is NaN.
  TW_UNROLL for (int i = 0; i < count; ++i)
      to[i] = {bits<V>(bits<U>(moved[i]) << Exponent<T>::kMantissa), rest[i]};
}

#if defined(__AVX512F__)
// 2^x; 0 where x is below `least`.
template <class T, class V, int count>
TW_INLINE void exp2_by_steps(V (&x)[count], T least) {
  using S = Exp2Table<T>;
  V r[count], rest[count];
  TW_UNROLL for (int i = 0; i < count; ++i) r[i] = S::beyond(x[i]);
  sum_series<S>(r, rest);
  TW_UNROLL for (int i = 0; i < count; ++i) {
    const V power = S::power(x[i]);
    x[i] = S::scaled(power + power * rest[i], x[i], all<V>(least));
  }
}
#endif

// 2^x to 2 units in the last place, for x up to the largest exponent. Results below the normal
// numbers become 0 or subnormal; NaN stays NaN.
template <class Isa, class T, class V, int count>
TW_INLINE void exp2(V (&x)[count]) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) return exp2_by_steps<T>(x, T(1 - Exponent<T>::kBias));
#endif
  const V least = all<V>(T(-Exponent<T>::kBias));
  Halves<V> h[count];
  TW_UNROLL for (int i = 0; i < count; ++i) x[i] = larger(x[i], least);
  halves<T>(x, h);
  TW_UNROLL for (int i = 0; i < count; ++i) x[i] = h[i].power + h[i].power * h[i].rest;
}

template <class Isa, class T, class V>
TW_INLINE V exp2(V x) {
  V one[1] = {x};
  exp2<Isa, T>(one);
  return one[0];
}

// exp2() that also returns subnormal results, where exp2() may return 0. Gradients need them: they
// multiply a small weight by a number that may be large.
template <class Isa, class T, class V, int count>
TW_INLINE void exp2_gradual(V (&x)[count]) {
#if defined(__AVX512F__)
  // 2^kLeast, half of the least subnormal number, rounds to 0.
  constexpr int kLeast = -Exponent<T>::kBias - Exponent<T>::kMantissa;
  if constexpr (sizeof(V) == 64) return exp2_by_steps<T>(x, T(kLeast));
#endif
  constexpr int kRaised = Exponent<T>::kBias / 2;
  using Unsigned = typename Lanes<Isa, T>::Unsigned;
  const V low = all<V>(T(-kRaised));
  const V lowered = bits<V>(typename Lanes<Isa, T>::U{} +
                            (Unsigned{Exponent<T>::kBias - kRaised} << Exponent<T>::kMantissa));
  V power[count];
  TW_UNROLL for (int i = 0; i < count; ++i) power[i] =
      x[i] < low ? x[i] + all<V>(T(kRaised)) : x[i];
  exp2<Isa, T>(power);
  TW_UNROLL for (int i = 0; i < count; ++i) x[i] = x[i] < low ? power[i] * lowered : power[i];
}

// tanh(x) = (e^2x - 1) / (e^2x + 1); computing e^2x - 1 directly keeps the digits near 0.
template <class Isa, class T, class V>
TW_INLINE V tanh(V x) {
  const V far = all<V>(T(sizeof(T) == 4 ? 10 : 20));
  const V size = smaller(absolute(x), far);
  const V exponent[1] = {size * all<V>(T(2.88539008177792681472))};
  Halves<V> h[1];
  halves<T>(exponent, h);
  const V less_one = h[0].power * h[0].rest + (h[0].power - all<V>(T(1)));
  const V value = less_one / (less_one + all<V>(T(2)));
  return x != x ? x : x < V{} ? -value : value;
}

}  // namespace tilewise::cpu
