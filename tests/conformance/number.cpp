// Float types of 8 and 16 bits, computed from two widths. The wide types are the machine's.
#include "conformance/number.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace tilewise::conformance {
namespace {

struct Format {
  int exponent, mantissa;  // bits
  bool has_infinity;       // otherwise the highest code alone is NaN

  [[nodiscard]] int lowest() const { return 2 - (1 << (exponent - 1)); }  // smallest normal's
  [[nodiscard]] std::uint64_t sign() const { return std::uint64_t{1} << (exponent + mantissa); }
  [[nodiscard]] std::uint64_t infinity() const {
    return ((std::uint64_t{1} << exponent) - 1) << mantissa;
  }
  [[nodiscard]] std::uint64_t largest() const { return has_infinity ? infinity() - 1 : sign() - 2; }
};

Format format_of(tw_dtype dtype) {
  switch (dtype) {
    case TW_FLOAT16:
      return {5, 10, true};
    case TW_BFLOAT16:
      return {8, 7, true};
    case TW_FLOAT8_E5M2:
      return {5, 2, true};
    default:
      return {4, 3, false};
  }
}

std::uint64_t encode_small(const Format& format, double value) {
  const std::uint64_t sign = std::signbit(value) ? format.sign() : 0;
  if (std::isnan(value)) return sign | (format.sign() - 1);
  if (std::isinf(value)) return sign | (format.has_infinity ? format.infinity() : format.largest());
  if (value == 0) return sign;
  const int exponent = std::max(std::ilogb(value), format.lowest());
  // Counts quanta of this binade; a carry out of the mantissa lands in the exponent by itself.
  const auto quanta = static_cast<std::uint64_t>(
      std::nearbyint(std::ldexp(std::fabs(value), format.mantissa - exponent)));
  const auto binade = static_cast<std::uint64_t>(exponent - format.lowest());
  const std::uint64_t bits = (binade << format.mantissa) + quanta;
  if (bits <= format.largest()) return sign | bits;
  return sign | (format.has_infinity ? format.infinity() : format.largest());
}

double decode_small(const Format& format, std::uint64_t bits) {
  const double sign = (bits & format.sign()) != 0 ? -1 : 1;
  const std::uint64_t magnitude = bits & (format.sign() - 1);
  if (magnitude > format.largest()) {
    const bool infinite = format.has_infinity && magnitude == format.infinity();
    return infinite ? sign * std::numeric_limits<double>::infinity()
                    : std::numeric_limits<double>::quiet_NaN();
  }
  const auto binade = static_cast<int>(magnitude >> format.mantissa);
  const std::uint64_t fraction = magnitude & ((std::uint64_t{1} << format.mantissa) - 1);
  const std::uint64_t hidden = binade > 0 ? std::uint64_t{1} << format.mantissa : 0;
  const int exponent = format.lowest() + std::max(binade - 1, 0) - format.mantissa;
  return sign * std::ldexp(static_cast<double>(hidden + fraction), exponent);
}

}  // namespace

std::size_t bytes_of(tw_dtype dtype) {
  switch (dtype) {
    case TW_FLOAT64:
    case TW_INT64:
      return 8;
    case TW_FLOAT32:
    case TW_INT32:
      return 4;
    case TW_FLOAT16:
    case TW_BFLOAT16:
      return 2;
    default:
      return 1;
  }
}

const char* name_of(tw_dtype dtype) {
  switch (dtype) {
    case TW_FLOAT64:
      return "float64";
    case TW_FLOAT32:
      return "float32";
    case TW_FLOAT16:
      return "float16";
    case TW_BFLOAT16:
      return "bfloat16";
    case TW_FLOAT8_E4M3:
      return "float8_e4m3";
    case TW_FLOAT8_E5M2:
      return "float8_e5m2";
    case TW_INT32:
      return "int32";
    case TW_INT64:
      return "int64";
    default:
      return "bool";
  }
}

std::uint64_t encode(tw_dtype dtype, double value) {
  switch (dtype) {
    case TW_FLOAT64:
      return std::bit_cast<std::uint64_t>(value);
    case TW_FLOAT32:
      return std::bit_cast<std::uint32_t>(static_cast<float>(value));
    case TW_INT32:
      return static_cast<std::uint32_t>(static_cast<std::int32_t>(value));
    case TW_INT64:
      return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
    case TW_BOOL:
      return static_cast<std::uint8_t>(value);
    default:
      return encode_small(format_of(dtype), value);
  }
}

double decode(tw_dtype dtype, std::uint64_t bits) {
  switch (dtype) {
    case TW_FLOAT64:
      return std::bit_cast<double>(bits);
    case TW_FLOAT32:
      return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    case TW_INT32:
      return static_cast<double>(static_cast<std::int32_t>(bits));
    case TW_INT64:
      return static_cast<double>(static_cast<std::int64_t>(bits));
    case TW_BOOL:
      return static_cast<double>(bits);
    default:
      return decode_small(format_of(dtype), bits);
  }
}

std::uint64_t poison(tw_dtype dtype, std::uint64_t index) {
  const std::uint64_t mixed = (index + 1) * 0x9E3779B97F4A7C15U >> 11U;
  switch (dtype) {
    case TW_FLOAT64:
      return 0xFFF8000000000000U | (mixed & 0x7FFFFFFFFFFFFU);
    case TW_FLOAT32:
      return 0xFFC00000U | (mixed & 0x3FFFFFU);
    case TW_FLOAT16:
      return 0xFE00U | (mixed & 0x1FFU);
    case TW_BFLOAT16:
      return 0xFFC0U | (mixed & 0x3FU);
    case TW_FLOAT8_E4M3:
      return 0x7FU | (mixed & 0x80U);
    case TW_FLOAT8_E5M2:
      return 0x7EU | (mixed & 0x81U);
    default:
      return 0xF1F2F3F4F5F6F7F8U;
  }
}

double largest(tw_dtype dtype) {
  switch (dtype) {
    case TW_FLOAT64:
      return std::numeric_limits<double>::max();
    case TW_FLOAT32:
      return std::numeric_limits<float>::max();
    default:
      return decode_small(format_of(dtype), format_of(dtype).largest());
  }
}

double unit_roundoff(tw_dtype dtype) {
  switch (dtype) {
    case TW_FLOAT64:
      return 0x1p-53;
    case TW_FLOAT32:
      return 0x1p-24;
    default:
      return std::ldexp(1.0, -1 - format_of(dtype).mantissa);
  }
}

double floor_of(tw_dtype dtype) {
  switch (dtype) {
    case TW_FLOAT64:
      return 0x1p-1022;
    case TW_FLOAT16:
      return 0x1p-25;
    case TW_FLOAT8_E4M3:
      return 0x1p-10;
    case TW_FLOAT8_E5M2:
      return 0x1p-17;
    default:
      return 0x1p-126;
  }
}

double rounding_of(tw_dtype dtype, double exact) {
  return exact == 0 ? 0 : std::max(unit_roundoff(dtype) * std::fabs(exact), floor_of(dtype));
}

}  // namespace tilewise::conformance
