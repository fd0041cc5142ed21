// 2^x by AVX-512. VREDUCE gives the rest of x beyond a multiple of a step, VPERM looks the power of
// 2 of that multiple's fraction up in a register, and VSCALEF multiplies by 2^floor(x). NaN stays
// NaN.
#pragma once

#include "backends/cpu/simd/vector.h"

#if defined(__AVX512F__)
namespace tilewise::cpu {

// The parts of exp2_by_steps(). beyond(x) is the rest of x above a multiple of the step, power(x)
// is 2 to that multiple's fraction: x + kMagic, rounded down, has the number of steps in its last
// bits, unless x is so large that 2^x is 0 or infinite. kTerm: the polynomial of 2^r - 1, lowest
// order first. powers() is a function, because a table would be a weak symbol, which
// tools/check_isa.py forbids. Masks of all lanes avoid a g++ 12 warning of uninitialised values.
template <class T>
struct Exp2Table;

inline constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;

// Steps of 1/16; an error of 2e-9.
template <>
struct Exp2Table<float> {
  using V = VectorOf<float, 64>::Type;
  static constexpr int kBits = 4;
  static constexpr float kMagic = int{3} << (23 - kBits - 1);
  static constexpr int kTerms = 3;
  static constexpr float kTerm[kTerms] = {0.6931476f, 0.24018425f, 0.0566699f};

  TW_INLINE static V powers() {
    return V{0x1p0f,        0x1.0b5586p0f, 0x1.172b84p0f, 0x1.2387a6p0f,
             0x1.306fep0f,  0x1.3dea64p0f, 0x1.4bfdaep0f, 0x1.5ab07ep0f,
             0x1.6a09e6p0f, 0x1.7a1148p0f, 0x1.8ace54p0f, 0x1.9c4918p0f,
             0x1.ae89fap0f, 0x1.c199bep0f, 0x1.d5818ep0f, 0x1.ea4afap0f};
  }
  TW_INLINE static V beyond(V x) { return _mm512_maskz_reduce_ps(0xffff, x, kBits << 4 | kDown); }
  TW_INLINE static V power(V x) {
    const V moved = _mm512_maskz_add_round_ps(0xffff, x, all<V>(kMagic), kDown);
    return _mm512_maskz_permutexvar_ps(0xffff, (__m512i)moved, powers());
  }
  // y * 2^floor(x), or 0 where x is below `least`: a mask leaves these lanes out, because an Intel
  // core takes a hundred times as long for results below the normal numbers.
  TW_INLINE static V scaled(V y, V x, V least) {
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, least, _CMP_NLT_UQ), y, x);
  }
};

// Steps of 1/8; an error of 9e-18.
template <>
struct Exp2Table<double> {
  using V = VectorOf<double, 64>::Type;
  static constexpr int kBits = 3;
  static constexpr double kMagic = int64{3} << (52 - kBits - 1);
  static constexpr int kTerms = 7;
  static constexpr double kTerm[kTerms] = {
      0x1.62e42fefa39ffp-1,  0x1.ebfbdff829450p-3,  0x1.c6b08d73a04fep-5, 0x1.3b2ab5452fb74p-7,
      0x1.5d88eecc8d43fp-10, 0x1.42c0d675bc85ep-13, 0x1.0b1a44597dfa3p-16};

  TW_INLINE static V powers() {
    return V{0x1p0,
             0x1.172b83c7d517bp0,
             0x1.306fe0a31b715p0,
             0x1.4bfdad5362a27p0,
             0x1.6a09e667f3bcdp0,
             0x1.8ace5422aa0dbp0,
             0x1.ae89f995ad3adp0,
             0x1.d5818dcfba487p0};
  }
  TW_INLINE static V beyond(V x) { return _mm512_maskz_reduce_pd(0xff, x, kBits << 4 | kDown); }
  TW_INLINE static V power(V x) {
    const V moved = _mm512_maskz_add_round_pd(0xff, x, all<V>(kMagic), kDown);
    return _mm512_maskz_permutexvar_pd(0xff, (__m512i)moved, powers());
  }
  TW_INLINE static V scaled(V y, V x, V least) {
    return _mm512_maskz_scalef_pd(_mm512_cmp_pd_mask(x, least, _CMP_NLT_UQ), y, x);
  }
};

}  // namespace tilewise::cpu
#endif
