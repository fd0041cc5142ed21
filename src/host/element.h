// Converts elements of any type to float or double and back, a contiguous run of them at a time.
#pragma once

#include <cstring>

#include "core/dtype.h"
#include "core/math.h"
#include "problem/view.h"

namespace tilewise {

// Rounds to T, but finite numbers stay finite: a very low bias must not become -inf, which hides.
template <class T>
T narrow(double number) {
  constexpr double kLargest = static_cast<double>(core::largest<T>());
  if (core::absolute(number) > kLargest && core::absolute(number) < core::infinity<double>())
    return number < 0 ? -core::largest<T>() : core::largest<T>();
  return static_cast<T>(number);
}

template <class T>
T load(DType dtype, const std::byte* at) {
  const auto raw = [at](auto value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (dtype) {
    case DType::kFloat32:
      return static_cast<T>(raw(float{}));
    case DType::kFloat64:
      return narrow<T>(raw(double{}));
    case DType::kFloat16:
      return static_cast<T>(decode(core::kFloat16, raw(core::uint16{})));
    case DType::kBFloat16:
      return static_cast<T>(decode(core::kBFloat16, raw(core::uint16{})));
    case DType::kFloat8E4M3:
      return static_cast<T>(decode(core::kFloat8E4M3, raw(core::uint8{})));
    case DType::kFloat8E5M2:
      return static_cast<T>(decode(core::kFloat8E5M2, raw(core::uint8{})));
    default:
      return core::not_a_number<T>();
  }
}

template <class T>
void store(DType dtype, std::byte* at, T value) {
  const auto put = [at](auto raw) { std::memcpy(at, &raw, sizeof raw); };
  const auto code = [value](core::SmallFloat format) {
    return encode(format, static_cast<double>(value));
  };
  switch (dtype) {
    case DType::kFloat32:
      return put(static_cast<float>(value));
    case DType::kFloat64:
      return put(static_cast<double>(value));
    case DType::kFloat16:
      return put(static_cast<core::uint16>(code(core::kFloat16)));
    case DType::kBFloat16:
      return put(static_cast<core::uint16>(code(core::kBFloat16)));
    case DType::kFloat8E4M3:
      return put(static_cast<core::uint8>(code(core::kFloat8E4M3)));
    case DType::kFloat8E5M2:
      return put(static_cast<core::uint8>(code(core::kFloat8E5M2)));
    default:
      return;
  }
}

template <class T>
T load(const View& view, int64 element) {
  return load<T>(view.dtype, view.at(element));
}

template <class T>
void store(const View& view, int64 element, T value) {
  store(view.dtype, view.at(element), value);
}

// `count` contiguous elements, the first of which is `element`.
struct Stretch {
  int64 element, count;
};

// Writes element i times `factor` to to[i * step].
template <class T>
void load_row(const View& view, Stretch stretch, T factor, T* to, int64 step = 1) {
  const auto [element, count] = stretch;
  const std::byte* at = view.at(element);
  if (view.dtype == DType::kFloat32 && sizeof(T) == sizeof(float)) {
    const float* from = reinterpret_cast<const float*>(at);
    for (int64 i = 0; i < count; ++i) to[i * step] = static_cast<T>(from[i]) * factor;
    return;
  }
  const int64 bytes = core::bytes_of(view.dtype);
  for (int64 i = 0; i < count; ++i) to[i * step] = load<T>(view.dtype, at + i * bytes) * factor;
}

template <class T>
void store_row(const View& view, Stretch stretch, T factor, const T* from) {
  const auto [element, count] = stretch;
  const int64 bytes = core::bytes_of(view.dtype);
  std::byte* at = view.at(element);
  for (int64 i = 0; i < count; ++i) store(view.dtype, at + i * bytes, from[i] * factor);
}

}  // namespace tilewise
