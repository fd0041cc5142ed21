// 2^x and tanh, lane by lane.
#pragma once

#include "backends/cpu/simd/vector.h"

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

// Numbers that divide the way from 1 to 2 into `steps` equal ratios, and a polynomial for the way
// to the nearest of them: 2^r - 1 over |r| <= 1 / (2 steps), lowest order first. Steps are given
// less their own share of the exponent, which is added to them with the rest; by a function, for a
// table would be a symbol that objects share.
template <class T, int steps>
struct Stair;

// An error of 8e-8 at most.
template <>
struct Stair<float, 1> {
  static constexpr int kBits = 0, kTerms = 6;
  static constexpr float kTerm[kTerms] = {0.693147182f,   0.240226462f,   0.0555032864f,
                                          0.00961848907f, 0.00133999321f, 0.000153458051f};
};

// 3e-9.
template <>
struct Stair<float, 16> {
  static constexpr int kBits = 4, kTerms = 3;
  static constexpr float kTerm[kTerms] = {0.693147182f, 0.240233555f, 0.0555050857f};
  template <class U>
  TW_INLINE static U steps() {
    return U{0x00000000, 0xfffdaac3, 0xfffb95c2, 0xfff9c3d3, 0xfff837f0, 0xfff6f532,
             0xfff5fed7, 0xfff5583f, 0xfff504f3, 0xfff508a4, 0xfff5672a, 0xfff6248c,
             0xfff744fd, 0xfff8ccdf, 0xfffac0c7, 0xfffd257d};
  }
};

// ln(2)^k / k!
template <>
struct Stair<double, 1> {
  static constexpr int kBits = 0, kTerms = 13;
  static constexpr double kTerm[kTerms] = {
      0x1.62e42fefa39efp-1,  0x1.ebfbdff82c58fp-3,  0x1.c6b08d704a0cp-5,   0x1.3b2ab6fba4e77p-7,
      0x1.5d87fe78a6731p-10, 0x1.430912f86c787p-13, 0x1.ffcbfc588b0c7p-17, 0x1.62c0223a5c824p-20,
      0x1.b5253d395e7c4p-24, 0x1.e4cf5158b8ecap-28, 0x1.e8cac7351bb25p-32, 0x1.c3bd650fc2986p-36,
      0x1.816193166d0f9p-40};
};

// 7e-18.
template <>
struct Stair<double, 8> {
  static constexpr int kBits = 3, kTerms = 7;
  static constexpr double kTerm[kTerms] = {
      0x1.62e42fefa39efp-1,  0x1.ebfbdff82c6c5p-3,  0x1.c6b08d704a11fp-5, 0x1.3b2ab6f1f1910p-7,
      0x1.5d87fe72ac65ep-10, 0x1.430deca12d584p-13, 0x1.ffd1f6633bd3ap-17};
  template <class U>
  TW_INLINE static U steps() {
    return U{0x0000000000000000, 0xffff72b83c7d517b, 0xffff06fe0a31b715, 0xfffebfdad5362a27,
             0xfffea09e667f3bcd, 0xfffeace5422aa0db, 0xfffee89f995ad3ad, 0xffff5818dcfba487};
  }
};

// 2^x is taken of several vectors at once, a step of all before the next of any: one alone would
// wait for itself at each step.

// Adding this leaves the nearest number of steps in the last bits, and as an exponent has it.
template <class T, int steps>
inline constexpr T kMagic = T(int64{3} << (Exponent<T>::kMantissa - Stair<T, steps>::kBits - 1)) +
                            T(Exponent<T>::kBias);

// `rest`: 2^r - 1 for the way r from the nearest step to x. `moved`: x, moved by magic.
template <class T, int steps, class V, int count>
TW_INLINE void approach(const V (&x)[count], V (&moved)[count], V (&rest)[count]) {
  using S = Stair<T, steps>;
  const V magic = all<V>(kMagic<T, steps>);
  V r[count];
  TW_UNROLL for (int i = 0; i < count; ++i) moved[i] = x[i] + magic;
  TW_UNROLL for (int i = 0; i < count; ++i) r[i] = x[i] - (moved[i] - magic);
  TW_UNROLL for (int i = 0; i < count; ++i) rest[i] = all<V>(S::kTerm[S::kTerms - 1]);
  TW_UNROLL for (int k = S::kTerms - 2; k >= 0; --k) {
    TW_UNROLL for (int i = 0; i < count; ++i) rest[i] = rest[i] * r[i] + all<V>(S::kTerm[k]);
  }
  TW_UNROLL for (int i = 0; i < count; ++i) rest[i] *= r[i];
}

// x in two parts: 2^x = power * (1 + rest). With one step, power is a power of two.
template <class V>
struct Halves {
  V power, rest;
};

template <class T, int steps, class V, int count>
TW_INLINE void halves(const V (&x)[count], Halves<V> (&to)[count]) {
  using U = typename VectorOf<typename SameSize<T>::Unsigned, sizeof(V)>::Type;
  V moved[count], rest[count];
  approach<T, steps>(x, moved, rest);
  TW_UNROLL for (int i = 0; i < count; ++i) {
    // Of a NaN these are any bits; `rest` keeps the NaN.
    U power = bits<U>(moved[i]) << (Exponent<T>::kMantissa - Stair<T, steps>::kBits);
    if constexpr (steps > 1) power += pick(Stair<T, steps>::template steps<U>(), bits<U>(moved[i]));
    to[i] = {bits<V>(power), rest[i]};
  }
}

// 2^x to 2 units in the last place for x up to the largest exponent; 0 or a subnormal number where
// that would be below the normal ones; NaN stays.
template <class Isa, class T, class V, int count>
TW_INLINE void exp2(V (&x)[count]) {
  const V least = all<V>(T(-Exponent<T>::kBias));
  Halves<V> h[count];
  TW_UNROLL for (int i = 0; i < count; ++i) x[i] = larger(x[i], least);
  halves<T, kPicks<V>>(x, h);
  TW_UNROLL for (int i = 0; i < count; ++i) x[i] = h[i].power + h[i].power * h[i].rest;
}

template <class Isa, class T, class V>
TW_INLINE V exp2(V x) {
  V one[1] = {x};
  exp2<Isa, T>(one);
  return one[0];
}

#if defined(__AVX512F__)
// x * 2^power, rounded once; of power the whole part.
TW_INLINE VectorOf<float, 64>::Type scaled(VectorOf<float, 64>::Type x,
                                           VectorOf<float, 64>::Type power) {
  return _mm512_maskz_scalef_ps(0xffff, x, power);
}
TW_INLINE VectorOf<double, 64>::Type scaled(VectorOf<double, 64>::Type x,
                                            VectorOf<double, 64>::Type power) {
  return _mm512_maskz_scalef_pd(0xff, x, power);
}

// 2^x down to the last subnormal number, where an instruction knows powers of two that are no
// numbers.
template <class T, class V, int count>
TW_INLINE void exp2_scaled(V (&x)[count]) {
  constexpr int kSteps = kPicks<V>, kBits = Stair<T, kSteps>::kBits;
  using E = Exponent<T>;
  using Unsigned = typename SameSize<T>::Unsigned;
  using U = typename VectorOf<Unsigned, sizeof(V)>::Type;
  const V least = all<V>(T(-2 * E::kBias)), magic = all<V>(kMagic<T, kSteps>);
  U steps = Stair<T, kSteps>::template steps<U>() + (Unsigned{E::kBias} << E::kMantissa);
  TW_UNROLL for (int j = 0; j < kSteps; ++j) steps[j] += Unsigned(j) << (E::kMantissa - kBits);
  V moved[count], rest[count];
  TW_UNROLL for (int i = 0; i < count; ++i) x[i] = larger(x[i], least);
  approach<T, kSteps>(x, moved, rest);
  TW_UNROLL for (int i = 0; i < count; ++i) {
    const V step = bits<V>(pick(steps, bits<U>(moved[i])));
    x[i] = scaled(step + step * rest[i], moved[i] - magic);
  }
}
#endif

// The same down to the last subnormal number. Gradients multiply a small weight by what may be
// large.
template <class Isa, class T, class V, int count>
TW_INLINE void exp2_gradual(V (&x)[count]) {
#if defined(__AVX512F__)
  if constexpr (kPicks<V> != 1) return exp2_scaled<T>(x);
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

// By e^2x - 1, which keeps its digits near 0.
template <class Isa, class T, class V>
TW_INLINE V tanh(V x) {
  const V far = all<V>(T(sizeof(T) == 4 ? 10 : 20));
  const V size = smaller(absolute(x), far);
  const V exponent[1] = {size * all<V>(T(2.88539008177792681472))};
  Halves<V> h[1];
  halves<T, 1>(exponent, h);
  const V less_one = h[0].power * h[0].rest + (h[0].power - all<V>(T(1)));
  const V value = less_one / (less_one + all<V>(T(2)));
  return x != x ? x : x < V{} ? -value : value;
}

}  // namespace tilewise::cpu
