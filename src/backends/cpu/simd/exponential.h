// 2^x and tanh, lane by lane.
#pragma once

#include "backends/cpu/simd/vector.h"

namespace tilewise::cpu {

// What exp2 needs to know of a type: exponent bits, and a polynomial for 2^r - 1 over r on
// [-1/2, 1/2], lowest order first. float's has an error of 8e-8 at most; double's is the series.
template <class T>
struct Exponent;

template <>
struct Exponent<float> {
  static constexpr int kMantissa = 23, kBias = 127;
  static constexpr int kTerms = 6;
  static constexpr float kTerm[kTerms] = {0.693147182f,   0.240226462f,   0.0555032864f,
                                          0.00961848907f, 0.00133999321f, 0.000153458051f};
};

template <>
struct Exponent<double> {
  static constexpr int kMantissa = 52, kBias = 1023;
  static constexpr int kTerms = 13;
  // ln(2)^k / k!
  static constexpr double kTerm[kTerms] = {
      0x1.62e42fefa39efp-1,  0x1.ebfbdff82c58fp-3,  0x1.c6b08d704a0cp-5,   0x1.3b2ab6fba4e77p-7,
      0x1.5d87fe78a6731p-10, 0x1.430912f86c787p-13, 0x1.ffcbfc588b0c7p-17, 0x1.62c0223a5c824p-20,
      0x1.b5253d395e7c4p-24, 0x1.e4cf5158b8ecap-28, 0x1.e8cac7351bb25p-32, 0x1.c3bd650fc2986p-36,
      0x1.816193166d0f9p-40};
};

// x in two parts: 2^x = power * (1 + rest).
template <class V>
struct Halves {
  V power, rest;
};

// Terms begin .. end - 1 of the polynomial over r, by pairs of pairs: half as long a way from r to
// the sum as one term after another, and waiting is what it costs. `square` is r * r.
template <class V, class T, int begin, int end>
TW_INLINE V polynomial(V r, V square) {
  constexpr int kCount = end - begin;
  if constexpr (kCount == 1) {
    return all<V>(Exponent<T>::kTerm[begin]);
  } else if constexpr (kCount == 2) {
    return all<V>(Exponent<T>::kTerm[begin]) + r * all<V>(Exponent<T>::kTerm[begin + 1]);
  } else {
    constexpr int kSplit = kCount > 8 ? 8 : kCount > 4 ? 4 : 2;
    const V upper = polynomial<V, T, begin + kSplit, end>(r, square);
    const V lower = polynomial<V, T, begin, begin + kSplit>(r, square);
    V power = square;
    TW_UNROLL for (int k = 2; k < kSplit; k *= 2) power = power * power;
    return lower + power * upper;
  }
}

template <class Isa, class T, class V>
TW_INLINE Halves<V> halves(V x) {
  using E = Exponent<T>;
  using U = typename Lanes<Isa, T>::U;
  using Unsigned = typename Lanes<Isa, T>::Unsigned;
  // Adding this leaves the nearest integer in the last bits.
  const V magic = all<V>(T(3) * T(int64{1} << (E::kMantissa - 1)));
  const V moved = x + magic;
  const V r = x - (moved - magic);
  const V sum = polynomial<V, T, 0, E::kTerms>(r, r * r);
  // Of a NaN these are any bits; `rest` keeps the NaN.
  const U exponent = (bits<U>(moved) << E::kMantissa) + (Unsigned{E::kBias} << E::kMantissa);
  return {bits<V>(exponent), sum * r};
}

// 2^x to 2 units in the last place for x up to the largest exponent; 0 where that would be below
// the normal numbers; NaN stays.
template <class Isa, class T, class V>
TW_INLINE V exp2(V x) {
  const V least = all<V>(T(-Exponent<T>::kBias));
  const Halves<V> h = halves<Isa, T>(larger(x, least));
  return h.power + h.power * h.rest;
}

// The same down to the last subnormal number. Gradients multiply a small weight by what may be
// large.
template <class Isa, class T, class V>
TW_INLINE V exp2_gradual(V x) {
  constexpr int kRaised = Exponent<T>::kBias / 2;
  const V low = all<V>(T(-kRaised));
  const V power = exp2<Isa, T>(x < low ? x + all<V>(T(kRaised)) : x);
  return x < low ? power * bits<V>(typename Lanes<Isa, T>::U{} +
                                   (typename Lanes<Isa, T>::Unsigned{Exponent<T>::kBias - kRaised}
                                    << Exponent<T>::kMantissa))
                 : power;
}

// By e^2x - 1, which keeps its digits near 0.
template <class Isa, class T, class V>
TW_INLINE V tanh(V x) {
  const V far = all<V>(T(sizeof(T) == 4 ? 10 : 20));
  const V size = smaller(absolute(x), far);
  const Halves<V> h = halves<Isa, T>(size * all<V>(T(2.88539008177792681472)));
  const V less_one = h.power * h.rest + (h.power - all<V>(T(1)));
  const V value = less_one / (less_one + all<V>(T(2)));
  return x != x ? x : x < V{} ? -value : value;
}

}  // namespace tilewise::cpu
