// Operations on float32 that take one or two instructions.
#pragma once

#include "backends/cuda/device/thread.h"

namespace tilewise::cuda {

// a * b + c, rounded once.
TW_DEVICE float multiply_add(float a, float b, float c) {
#if defined(TW_ON_DEVICE)
  return ::fmaf(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

// a * b, rounded: the compiler may not fuse it with an addition.
TW_DEVICE float rounded_product(float a, float b) {
#if defined(TW_ON_DEVICE)
  return ::__fmul_rn(a, b);
#else
  return a * b;
#endif
}

// 2^x with a relative error of at most 2^-22. 2^-inf is 0, and subnormal results may be flushed to
// 0.
TW_DEVICE float exp2_approximate(float x) {
#if defined(TW_ON_DEVICE)
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
#else
  const float power = core::exp2(x);
  return power < 0x1p-126f ? 0 : power;
#endif
}

// 2^x as exp2_approximate, but with subnormal results, for a few more instructions.
TW_DEVICE float exp2_with_subnormals(float x) {
#if defined(TW_ON_DEVICE)
  float power;
  asm("ex2.approx.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
#else
  return core::exp2(x);
#endif
}

// 1 / x with a relative error of at most 2^-23.
TW_DEVICE float reciprocal_approximate(float x) {
#if defined(TW_ON_DEVICE)
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(x));
  return inverse;
#else
  return 1 / x;
#endif
}

// a * b + c, rounded towards zero: the result of finite numbers is never infinite.
TW_DEVICE float multiply_add_toward_zero(float a, float b, float c) {
#if defined(TW_ON_DEVICE)
  return ::__fmaf_rz(a, b, c);
#else
  const double exact = static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c);
  const auto nearest = static_cast<float>(exact);
  if (core::absolute(static_cast<double>(nearest)) <= core::absolute(exact)) return nearest;
  const uint32 bits = __builtin_bit_cast(uint32, nearest);
  const bool was_infinite = core::absolute(exact) == static_cast<double>(core::infinity<float>());
  return was_infinite || exact != exact ? nearest : __builtin_bit_cast(float, bits - 1);
#endif
}

// |x|, which costs nothing as an operand.
TW_DEVICE float magnitude(float x) {
#if defined(TW_ON_DEVICE)
  return ::fabsf(x);
#else
  return __builtin_fabsf(x);
#endif
}

// The larger number. If one is NaN, the other.
TW_DEVICE float larger_number(float a, float b) {
#if defined(TW_ON_DEVICE)
  return ::fmaxf(a, b);
#else
  return __builtin_fmaxf(a, b);
#endif
}

// The smaller number; NaN if one is NaN.
TW_DEVICE float smaller_or_nan(float a, float b) {
#if defined(TW_ON_DEVICE)
  float smaller;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(smaller) : "f"(a), "f"(b));
  return smaller;
#else
  return a != a || a < b ? a : b;
#endif
}

// Clamps to [-limit, limit]. NaN stays NaN.
TW_DEVICE float held_within(float number, float limit) {
#if defined(TW_ON_DEVICE)
  float held;
  asm("{.reg .f32 low;\n max.NaN.f32 low, %1, %2;\n min.NaN.f32 %0, low, %3;}"
      : "=f"(held)
      : "f"(number), "f"(-limit), "f"(limit));
  return held;
#else
  return number < -limit ? -limit : number > limit ? limit : number;
#endif
}

}  // namespace tilewise::cuda
