// Converts small floats to float. Each of their values is a float, so the conversion is exact.
#pragma once

#include "backends/cuda/device/thread.h"
#include "core/dtype.h"

namespace tilewise::cuda {

TW_DEVICE float from_float16(uint16 code) {
#if defined(TW_ON_DEVICE)
  float number;
  asm("cvt.f32.f16 %0, %1;" : "=f"(number) : "h"(code));
  return number;
#else
  return static_cast<float>(decode(core::kFloat16, code));
#endif
}

TW_DEVICE float from_bfloat16(uint16 code) {
  return __builtin_bit_cast(float, uint32{code} << 16);
}

// This format is float16 with the lower half of the mantissa cut off.
TW_DEVICE float from_float8_e5m2(uint8 code) {
  return from_float16(static_cast<uint16>(code << 8));
}

// Moves the bits to their places in a float, which also works for subnormals; then replaces the
// exponent's bias of 7 by float's 127.
TW_DEVICE float from_float8_e4m3(uint8 code) {
  const uint32 magnitude = code & 0x7Fu;
  const float size = __builtin_bit_cast(float, magnitude << 20) * 0x1p120f;
  const float number = magnitude == 0x7Fu ? core::not_a_number<float>() : size;
  return code & 0x80u ? -number : number;
}

}  // namespace tilewise::cuda
