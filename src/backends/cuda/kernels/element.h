// Loads and stores elements of any dtype as float or double.
#pragma once

#include "backends/cuda/device/convert.h"
#include "backends/cuda/kernels/tensor.h"

namespace tilewise::cuda {

template <class Raw>
TW_DEVICE Raw raw(const uint8* at) {
  return *reinterpret_cast<const Raw*>(at);
}

// Converts to T. Finite numbers are clamped to T's range: a bias that is very low but finite must
// not hide a key.
template <class T>
TW_DEVICE T narrow(double number) {
  constexpr double kLargest = static_cast<double>(core::largest<T>());
  if (core::absolute(number) > kLargest && core::absolute(number) < core::infinity<double>())
    return number < 0 ? -core::largest<T>() : core::largest<T>();
  return static_cast<T>(number);
}

// to[n] = element(at[n]), or 0 where at[n] is null. The loads are independent, so all of them are
// in flight together.
template <class T, int32 count, class Element>
TW_DEVICE void fill(const uint8* const (&at)[count], T (&to)[count], const Element& element) {
  TW_UNROLL
  for (int32 n = 0; n < count; ++n) to[n] = at[n] ? static_cast<T>(element(at[n])) : T(0);
}

// Loads the elements at the addresses `at`, converted to T.
template <class T, int32 count>
TW_DEVICE void load_each(DType dtype, const uint8* const (&at)[count], T (&to)[count]) {
  switch (dtype) {
    case DType::kFloat32:
      return fill(at, to, [](const uint8* from) { return raw<float>(from); });
    case DType::kFloat64:
      return fill(at, to, [](const uint8* from) { return narrow<T>(raw<double>(from)); });
    case DType::kFloat16:
      return fill(at, to, [](const uint8* from) { return from_float16(raw<uint16>(from)); });
    case DType::kBFloat16:
      return fill(at, to, [](const uint8* from) { return from_bfloat16(raw<uint16>(from)); });
    case DType::kFloat8E4M3:
      return fill(at, to, [](const uint8* from) { return from_float8_e4m3(*from); });
    case DType::kFloat8E5M2:
      return fill(at, to, [](const uint8* from) { return from_float8_e5m2(*from); });
    default:
      return fill(at, to, [](const uint8*) { return core::not_a_number<T>(); });
  }
}

TW_DEVICE const uint8* place_in(const Tensor& tensor, int64 element) {
  return tensor.data + element * tensor.bytes;
}

template <class T>
TW_DEVICE T load(const Tensor& tensor, int64 element) {
  const uint8* const at[1] = {place_in(tensor, element)};
  T number[1];
  load_each(tensor.dtype, at, number);
  return number[0];
}

// As load, for a tensor that must be float32 or float64, such as an lse, slopes or sinks. Support
// for every further type would cost code and compile time.
template <class T>
TW_DEVICE T load_wide(const Tensor& tensor, int64 element) {
  const uint8* at = place_in(tensor, element);
  return tensor.dtype == DType::kFloat64 ? narrow<T>(raw<double>(at))
                                         : static_cast<T>(raw<float>(at));
}

// The format of one of the small floats.
TW_DEVICE core::SmallFloat format_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat16:
      return core::kFloat16;
    case DType::kBFloat16:
      return core::kBFloat16;
    case DType::kFloat8E4M3:
      return core::kFloat8E4M3;
    default:
      return core::kFloat8E5M2;
  }
}

template <class T>
TW_DEVICE void store(const Tensor& tensor, int64 element, T value) {
  uint8* at = tensor.data + element * tensor.bytes;
  if (tensor.bytes == 8) {
    *reinterpret_cast<double*>(at) = static_cast<double>(value);
  } else if (tensor.bytes == 4) {
    *reinterpret_cast<float*>(at) = static_cast<float>(value);
  } else {
    // The format is only known at run time, so that this code exists once and not once a format.
    const uint32 code = encode(format_of(tensor.dtype), static_cast<double>(value));
    if (tensor.bytes == 2)
      *reinterpret_cast<uint16*>(at) = static_cast<uint16>(code);
    else
      *at = static_cast<uint8>(code);
  }
}

// An element of a table of lengths, offsets or pages.
TW_DEVICE int64 index_at(const Tensor& tensor, int64 element) {
  const uint8* at = place_in(tensor, element);
  return tensor.dtype == DType::kInt64 ? raw<int64>(at) : raw<int32>(at);
}

}  // namespace tilewise::cuda
