// The vectors of an instruction set and their basic operations. All functions are always inlined:
// each file of isa/ compiles them with its own flags, and an out-of-line copy could be linked into
// code for processors that lack its instructions.
#pragma once

#include "core/base.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define TW_INLINE [[gnu::always_inline]] inline
#define TW_INLINE_LAMBDA __attribute__((always_inline))
#if defined(__clang__)
#define TW_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TW_UNROLL _Pragma("GCC unroll 64")
#endif

// Unrolls a product's loop over k where there are 16 vector registers: an iteration is then short,
// so the loop's own instructions cost much. With 32 registers an iteration is long, and the loop is
// not unrolled, to keep the code short.
#if defined(__AVX512F__) || defined(__aarch64__)
#define TW_UNROLL_STEPS
#elif defined(__clang__)
#define TW_UNROLL_STEPS _Pragma("clang loop unroll_count(8)")
#else
#define TW_UNROLL_STEPS _Pragma("GCC unroll 8")
#endif

namespace tilewise::cpu {

using core::int32;
using core::int64;
using core::uint16;
using core::uint32;
using core::uint64;
using core::uint8;

// The integers as wide as T.
template <class T>
struct SameSize;
template <>
struct SameSize<float> {
  using Type = int32;
  using Unsigned = uint32;
};
template <>
struct SameSize<double> {
  using Type = int64;
  using Unsigned = uint64;
};

template <class E, int bytes>
struct VectorOf {
  typedef E Type __attribute__((vector_size(bytes)));
  typedef E Anywhere __attribute__((vector_size(bytes), aligned(alignof(E)), may_alias));
};

// The vector types of instruction set Isa for numbers T: V of numbers, and I and U of integers of
// the same size, I for results of comparisons and U for bits.
template <class Isa, class T>
struct Lanes {
  static constexpr int kCount = Isa::kBytes / static_cast<int>(sizeof(T));
  using V = typename VectorOf<T, Isa::kBytes>::Type;
  using I = typename VectorOf<typename SameSize<T>::Type, Isa::kBytes>::Type;
  using Unsigned = typename SameSize<T>::Unsigned;
  using U = typename VectorOf<Unsigned, Isa::kBytes>::Type;
};

template <class T>
inline constexpr T kInfinity = static_cast<T>(__builtin_inf());

template <class V, class T>
TW_INLINE V all(T x) {
  return x - V{};
}

template <class V, class T>
TW_INLINE V load(const T* from) {
  return *reinterpret_cast<const typename VectorOf<T, sizeof(V)>::Anywhere*>(from);
}

template <class V, class T>
TW_INLINE void store(T* to, V x) {
  *reinterpret_cast<typename VectorOf<T, sizeof(V)>::Anywhere*>(to) = x;
}

// Loads x into a register once; on x86, g++ 12 would load it again for each instruction that uses
// it.
template <class V>
TW_INLINE V loaded(V x) {
#if defined(__SSE2__)
  asm("" : "+v"(x));
#endif
  return x;
}

// The larger of each two lanes; a's where either is NaN.
template <class V>
TW_INLINE V larger(V a, V b) {
  return b > a ? b : a;
}

template <class V>
TW_INLINE V smaller(V a, V b) {
  return b < a ? b : a;
}

// larger() and smaller() in one instruction of x86, which g++ 12 chooses only for 64 bytes.
#define TW_EXTREMES(T, bytes, width, suffix)                               \
  TW_INLINE VectorOf<T, bytes>::Type larger(VectorOf<T, bytes>::Type a,    \
                                            VectorOf<T, bytes>::Type b) {  \
    return _mm##width##_max_##suffix(b, a);                                \
  }                                                                        \
  TW_INLINE VectorOf<T, bytes>::Type smaller(VectorOf<T, bytes>::Type a,   \
                                             VectorOf<T, bytes>::Type b) { \
    return _mm##width##_min_##suffix(b, a);                                \
  }
#if defined(__SSE2__)
TW_EXTREMES(float, 16, , ps)
TW_EXTREMES(double, 16, , pd)
#endif
#if defined(__AVX__)
TW_EXTREMES(float, 32, 256, ps)
TW_EXTREMES(double, 32, 256, pd)
#endif
#undef TW_EXTREMES

// The bits of x in lanes of another type.
template <class To, class From>
TW_INLINE To bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  return reinterpret_cast<To>(x);
}

template <class V>
TW_INLINE V absolute(V x) {
  return x < V{} ? -x : x;
}

// Whether any lane of a comparison's result is set.
template <class I>
TW_INLINE bool any(I mask) {
  constexpr int kCount = sizeof(I) / sizeof(mask[0]);
  auto found = mask[0];
  TW_UNROLL for (int i = 1; i < kCount; ++i) found |= mask[i];
  return found != 0;
}

}  // namespace tilewise::cpu
