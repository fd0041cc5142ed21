#include "cli/core/element.h"

#include <fmt/core.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "cli/core/failure.h"
#include "cli/core/nearest.h"

namespace tilewise::cli {
namespace {

// A binary float of 16 bits: one sign bit, then the exponent, then the mantissa.
struct Layout {
  int mantissa_bits, bias;
};
constexpr Layout kFloat16{10, 15};
constexpr Layout kBfloat16{7, 127};

std::uint16_t narrow(double value, Layout layout) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const int infinity = 0x7fff & ~((1 << layout.mantissa_bits) - 1);
  if (std::isnan(value)) {
    return static_cast<std::uint16_t>(sign | infinity | (1 << (layout.mantissa_bits - 1)));
  }
  const double size = std::abs(value);
  if (std::isinf(size)) return static_cast<std::uint16_t>(sign | infinity);
  if (size == 0) return sign;
  // Subnormals share the smallest exponent. A mantissa that rounds up to the next power of two
  // carries into the exponent in the sum below, up to infinity.
  const int exponent = std::max(std::ilogb(size), 1 - layout.bias);
  const double mantissa = std::nearbyint(std::ldexp(size, layout.mantissa_bits - exponent));
  const double bits = std::ldexp(exponent + layout.bias - 1, layout.mantissa_bits) + mantissa;
  return static_cast<std::uint16_t>(sign | static_cast<int>(std::min<double>(bits, infinity)));
}

double widen(std::uint16_t bits, Layout layout) {
  const int mantissa = bits & ((1 << layout.mantissa_bits) - 1);
  const int exponent = (bits & 0x7fff) >> layout.mantissa_bits;
  const int last = 0x7fff >> layout.mantissa_bits;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == last) return mantissa != 0 ? std::nan("") : sign * HUGE_VAL;
  const int whole = exponent == 0 ? mantissa : mantissa + (1 << layout.mantissa_bits);
  return sign * std::ldexp(whole, std::max(exponent, 1) - layout.bias - layout.mantissa_bits);
}

template <class T>
T load_at(const void* data, std::int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + index * static_cast<std::int64_t>(sizeof(T)),
              sizeof(T));
  return value;
}

template <class T>
void store_at(void* data, std::int64_t index, T value) {
  std::memcpy(static_cast<char*>(data) + index * static_cast<std::int64_t>(sizeof(T)), &value,
              sizeof(T));
}

[[noreturn]] void refuse(std::int32_t dtype) {
  throw Failure(kUnsupported,
                fmt::format("the command line makes no numbers of type {}; it makes float32, "
                            "float64, float16 and bfloat16",
                            tw_dtype_name(dtype)));
}

}  // namespace

std::uint16_t to_float16(double value) {
  return narrow(value, kFloat16);
}
std::uint16_t to_bfloat16(double value) {
  return narrow(value, kBfloat16);
}
double from_float16(std::uint16_t bits) {
  return widen(bits, kFloat16);
}
double from_bfloat16(std::uint16_t bits) {
  return widen(bits, kBfloat16);
}

void require_elements(std::int32_t dtype) {
  double room = 0;
  store_element(dtype, &room, 0, 0);
}

double load_element(std::int32_t dtype, const void* data, std::int64_t index) {
  switch (dtype) {
    case TW_FLOAT32:
      return static_cast<double>(load_at<float>(data, index));
    case TW_FLOAT64:
      return load_at<double>(data, index);
    case TW_FLOAT16:
      return from_float16(load_at<std::uint16_t>(data, index));
    case TW_BFLOAT16:
      return from_bfloat16(load_at<std::uint16_t>(data, index));
    default:
      refuse(dtype);
  }
}

void store_element(std::int32_t dtype, void* data, std::int64_t index, double value) {
  switch (dtype) {
    case TW_FLOAT32:
      return store_at(data, index, static_cast<float>(value));
    case TW_FLOAT64:
      return store_at(data, index, value);
    case TW_FLOAT16:
      return store_at(data, index, to_float16(value));
    case TW_BFLOAT16:
      return store_at(data, index, to_bfloat16(value));
    default:
      refuse(dtype);
  }
}

std::vector<std::string> float_type_names() {
  std::vector<std::string> names;
  for (std::int32_t dtype = TW_FLOAT32; dtype <= TW_FLOAT8_E5M2; ++dtype) {
    names.emplace_back(tw_dtype_name(dtype));
  }
  return names;
}

std::int32_t dtype_from_name(std::string_view name) {
  for (std::int32_t dtype = TW_FLOAT32; dtype <= TW_FLOAT8_E5M2; ++dtype) {
    if (name == tw_dtype_name(dtype)) return dtype;
  }
  throw Failure(kUsage, no_such("float type", name, float_type_names()));
}

}  // namespace tilewise::cli
