// Conversion between vectors of float and elements of any type in memory.
#pragma once

#include "backends/cpu/simd/vector.h"
#include "core/dtype.h"

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace tilewise::cpu {

using core::DType;

// Reads and writes vectors of narrow codes, which have 32 bits each in a register.
template <class Isa, class Code>
struct Codes {
  static constexpr int kCount = Isa::kBytes / 4;
  using Narrow = typename VectorOf<Code, kCount* static_cast<int>(sizeof(Code))>::Anywhere;
  using U = typename VectorOf<uint32, Isa::kBytes>::Type;

  TW_INLINE static U read(const void* from, int64 i) {
    return __builtin_convertvector(
        *reinterpret_cast<const Narrow*>(static_cast<const Code*>(from) + i), U);
  }

  TW_INLINE static void write(void* to, int64 i, U codes) {
    *reinterpret_cast<Narrow*>(static_cast<Code*>(to) + i) =
        __builtin_convertvector(codes, typename VectorOf<Code, sizeof(Narrow)>::Type);
  }
};

// Widens small floats: moves their bits into place and multiplies by `scale`, which corrects the
// exponent's bias, also of subnormal numbers. Magnitudes from `beyond` on are NaN or infinity.
template <class U, class V>
TW_INLINE V widen(U code, int sign_bit, int mantissa, float scale, uint32 beyond) {
  const U magnitude = code & ((uint32{1} << sign_bit) - 1);
  const U sign = (code >> sign_bit) << 31;
  const U number = bits<U>(bits<V>(magnitude << (23 - mantissa)) * all<V>(scale));
  const U special = (magnitude << (23 - mantissa)) | uint32{0x7F800000};
  return bits<V>(sign | (magnitude >= beyond ? special : number));
}

template <class Isa>
struct Convert {
  using V = typename Lanes<Isa, float>::V;
  using U = typename VectorOf<uint32, Isa::kBytes>::Type;
  static constexpr int kCount = Lanes<Isa, float>::kCount;

  // Reads a vector of floats from element i of memory.
  template <DType dtype>
  TW_INLINE static V read(const void* from, int64 i) {
    if constexpr (dtype == DType::kFloat32) {
      return load<V>(static_cast<const float*>(from) + i);
    } else if constexpr (dtype == DType::kBFloat16) {
      return bits<V>(Codes<Isa, uint16>::read(from, i) << 16);
    } else if constexpr (dtype == DType::kFloat16) {
      return half(from, i);
    } else if constexpr (dtype == DType::kFloat8E5M2) {
      return widen<U, V>(Codes<Isa, uint8>::read(from, i) << 8, 15, 10, 0x1p112f, 0x7C00);
    } else {
      static_assert(dtype == DType::kFloat8E4M3);
      const U code = Codes<Isa, uint8>::read(from, i);
      return widen<U, V>(code, 7, 3, 0x1p120f, 0x7F);
    }
  }

  TW_INLINE static V half(const void* from, int64 i) {
#if defined(__AVX512F__)
    if constexpr (sizeof(V) == 64)
      return _mm512_maskz_cvtph_ps(0xFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(
                                               static_cast<const uint16*>(from) + i)));
#elif defined(__F16C__)
    if constexpr (sizeof(V) == 32)
      return _mm256_cvtph_ps(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(static_cast<const uint16*>(from) + i)));
#elif defined(__aarch64__)
    if constexpr (sizeof(V) == 16)
      return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(static_cast<const uint16*>(from) + i)));
#endif
    return widen<U, V>(Codes<Isa, uint16>::read(from, i), 15, 10, 0x1p112f, 0x7C00);
  }

  // To bfloat16, to nearest, ties to even; NaN stays NaN.
  TW_INLINE static U bfloat16_of(V x) {
    const U code = bits<U>(x);
    const U rounded = (code + uint32{0x7FFF} + ((code >> 16) & 1)) >> 16;
    return (code & uint32{0x7FFFFFFF}) > uint32{0x7F800000} ? (code >> 16) | 0x40 : rounded;
  }

  // To float16, to nearest, ties to even; NaN stays NaN. Adding 1/2 to a small number rounds it to
  // a multiple of 2^-24, the last place of a subnormal half.
  TW_INLINE static U half_of(V x) {
    const U sign = bits<U>(x) >> 31 << 15;
    const U magnitude = bits<U>(x) & uint32{0x7FFFFFFF};
    const U normal =
        (magnitude + uint32{0xFFF} + ((magnitude >> 13) & 1) - (uint32{112} << 23)) >> 13;
    const U subnormal = bits<U>(bits<V>(magnitude) + all<V>(0x1p-1f)) - bits<U>(all<V>(0x1p-1f));
    U code = magnitude < (uint32{113} << 23) ? subnormal : normal;
    code = magnitude >= uint32{0x477FF000} ? U{} + uint32{0x7C00} : code;
    code = magnitude > uint32{0x7F800000} ? U{} + uint32{0x7E00} : code;
    return sign | code;
  }

  template <DType dtype>
  TW_INLINE static void write(void* to, int64 i, V x) {
    if constexpr (dtype == DType::kFloat32) {
      store(static_cast<float*>(to) + i, x);
    } else if constexpr (dtype == DType::kBFloat16) {
      Codes<Isa, uint16>::write(to, i, bfloat16_of(x));
    } else {
      static_assert(dtype == DType::kFloat16);
      Codes<Isa, uint16>::write(to, i, half_of(x));
    }
  }
};

// Converts rows of any length. The end of a row that is no whole vector goes through a buffer.
template <class Isa, DType dtype>
struct Elements {
  using C = Convert<Isa>;
  using V = typename C::V;
  static constexpr int64 kBytes = core::bytes_of(dtype);

  // to[i] = from[i] * factor, for `count` elements.
  TW_INLINE static void read(const void* from, int64 count, float factor, float* to) {
    int64 i = 0;
    for (; i + C::kCount <= count; i += C::kCount)
      store(to + i, C::template read<dtype>(from, i) * all<V>(factor));
    if (i == count) return;
    alignas(64) unsigned char rest[C::kCount * kBytes] = {};
    __builtin_memcpy(rest, static_cast<const unsigned char*>(from) + i * kBytes,
                     static_cast<unsigned long>((count - i) * kBytes));
    const V last = C::template read<dtype>(rest, 0) * all<V>(factor);
    for (int64 j = i; j < count; ++j) to[j] = last[j - i];
  }

  TW_INLINE static void write(void* to, int64 count, float factor, const float* from) {
    int64 i = 0;
    for (; i + C::kCount <= count; i += C::kCount)
      C::template write<dtype>(to, i, load<V>(from + i) * all<V>(factor));
    if (i == count) return;
    V last = {};
    for (int64 j = i; j < count; ++j) last[j - i] = from[j];
    alignas(64) unsigned char rest[C::kCount * kBytes];
    C::template write<dtype>(rest, 0, last * all<V>(factor));
    __builtin_memcpy(static_cast<unsigned char*>(to) + i * kBytes, rest,
                     static_cast<unsigned long>((count - i) * kBytes));
  }
};

}  // namespace tilewise::cpu
