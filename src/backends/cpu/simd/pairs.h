// Pairs of bfloat16, each in the place of a float, as VDPBF16PS multiplies and adds them.
#pragma once

#include <immintrin.h>

#include "backends/cpu/simd/vector.h"

namespace tilewise::cpu {

// Elements of a product that are pairs of bfloat16. The other kind is OfNumbers.
struct OfPairs {
  static constexpr int64 kPacked = 2;

  // Copies a pair to all lanes as bits: arithmetic on it as a float could change it.
  template <class V>
  TW_INLINE static V spread(const float* from) {
    int pair = 0;
    __builtin_memcpy(&pair, from, 4);
    return (V)_mm512_set1_epi32(pair);
  }

  template <class V>
  TW_INLINE static V add(V sum, V left, V right) {
    return (V)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)right);
  }

  // Round two vectors of float to bfloat16. behind() puts `second` behind `first`; beside()
  // alternates them lane by lane.
  template <class V>
  TW_INLINE static V behind(V first, V second) {
    return (V)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
  }
  template <class V>
  TW_INLINE static V beside(V even, V odd) {
    typedef short Halves __attribute__((vector_size(64)));
    const Halves both = (Halves)behind(even, odd);
    return (V)__builtin_shufflevector(both, both, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22,
                                      7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                      15, 31);
  }
};

}  // namespace tilewise::cpu
