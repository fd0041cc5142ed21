// What some wounds and scars of src/core/wound.h do to a number. Without
// TILEWISE_WOUNDS each of these returns what it was given.
#pragma once

#include "core/dtype.h"
#include "core/wound.h"

namespace tilewise::plain {

// To the nearest number of a small type.
template <class T>
void round_to(core::SmallFloat format, T* numbers, core::int64 count) {
  for (core::int64 n = 0; n < count; ++n) {
    const auto wide = static_cast<double>(numbers[n]);
    numbers[n] = static_cast<T>(decode(format, encode(format, wide)));
  }
}

// The same in the type of 16-bit inputs.
template <class T>
void round_like(core::DType dtype, T* numbers, core::int64 count) {
  if (dtype == core::DType::kFloat16) round_to(core::kFloat16, numbers, count);
  if (dtype == core::DType::kBFloat16) round_to(core::kBFloat16, numbers, count);
}

// Weights, or scores' gradients, before they meet the elements of a tensor of `dtype`.
template <class T>
void narrow(core::DType dtype, T* weights, core::int64 count) {
  if (wounded(core::Wound::kWeightsNarrow)) round_like(dtype, weights, count);
}

// Sums after a tile, as a kernel keeps them that has no room for float.
template <class T>
void keep_sums(core::DType dtype, T* sums, core::int64 count) {
  if (wounded(core::Wound::kAccumulatorNarrow)) round_like(dtype, sums, count);
}

// A power of two as an instruction gives it that is good to 22 bits, or the same of a double.
template <class T>
T inexact(T power) {
  if (!wounded(core::Wound::kExpInexact) || sizeof(T) != sizeof(float)) return power;
  const auto bits = __builtin_bit_cast(core::uint32, static_cast<float>(power));
  if ((bits & 0x7FFFFF) == 0) return power;
  return bits % 2 ? power * T(1 + 0x1p-22) : power * T(1 - 0x1p-22);
}

}  // namespace tilewise::plain
