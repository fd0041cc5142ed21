// What some mutants of the plain backend do to numbers: they round them as other kernels would.
#pragma once

#include "core/dtype.h"

namespace tilewise::plain {

// To the nearest number of a small type.
template <class T>
void round_to(core::SmallFloat format, T* numbers, core::int64 count) {
  for (core::int64 n = 0; n < count; ++n) {
    const auto wide = static_cast<double>(numbers[n]);
    numbers[n] = static_cast<T>(decode(format, encode(format, wide)));
  }
}

// To the nearest numbers of the type of 16-bit inputs.
template <class T>
void round_like(core::DType dtype, T* numbers, core::int64 count) {
  if (dtype == core::DType::kFloat16) round_to(core::kFloat16, numbers, count);
  if (dtype == core::DType::kBFloat16) round_to(core::kBFloat16, numbers, count);
}

// 2^x with a relative error of 2^-22, like that of an approximate instruction. Whole powers of two
// and doubles stay exact.
template <class T>
T inexact(T power) {
  if (sizeof(T) != sizeof(float)) return power;
  const auto bits = __builtin_bit_cast(core::uint32, static_cast<float>(power));
  if ((bits & 0x7FFFFF) == 0) return power;
  return bits % 2 ? power * T(1 + 0x1p-22) : power * T(1 - 0x1p-22);
}

}  // namespace tilewise::plain
