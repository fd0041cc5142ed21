// Element types, and conversions that round exactly once, to nearest with ties to even.
#pragma once

#include "core/base.h"
#include "core/math.h"

namespace tilewise::core {

// The numbers are the public header's.
enum class DType : int32 {
  kNone = 0,
  kFloat32 = 1,
  kFloat64 = 2,
  kFloat16 = 3,
  kBFloat16 = 4,
  kFloat8E4M3 = 5,
  kFloat8E5M2 = 6,
  kBool = 7,
  kInt32 = 8,
  kInt64 = 9
};

TW_HD constexpr int64 bytes_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
    case DType::kInt64:
      return 8;
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return 2;
    case DType::kFloat8E4M3:
    case DType::kFloat8E5M2:
    case DType::kBool:
      return 1;
    case DType::kNone:
      break;
  }
  return 0;
}

TW_HD constexpr bool is_float(DType dtype) {
  return DType::kFloat32 <= dtype && dtype <= DType::kFloat8E5M2;
}

TW_HD constexpr bool is_index(DType dtype) {
  return dtype == DType::kInt32 || dtype == DType::kInt64;
}

// A small float: a sign, `exponent_bits`, `mantissa_bits`.
struct SmallFloat {
  int32 exponent_bits, mantissa_bits;
  bool infinities;  // e4m3 has none: with the highest exponent only mantissa 7 (NaN) is no number
  bool saturates;   // what does not fit becomes the largest finite value, as by PTX cvt.satfinite

  TW_HD constexpr int32 bias() const { return (1 << (exponent_bits - 1)) - 1; }
  TW_HD constexpr uint32 sign() const { return 1u << (exponent_bits + mantissa_bits); }
  TW_HD constexpr uint32 infinity() const { return ((1u << exponent_bits) - 1) << mantissa_bits; }
  TW_HD constexpr uint32 nan() const {
    return infinities ? infinity() | 1u << (mantissa_bits - 1) : sign() - 1;
  }
  TW_HD constexpr uint32 largest() const { return infinities ? infinity() - 1 : nan() - 1; }
};

inline constexpr SmallFloat kFloat16{5, 10, true, false};
inline constexpr SmallFloat kBFloat16{8, 7, true, false};
inline constexpr SmallFloat kFloat8E4M3{4, 3, false, true};
inline constexpr SmallFloat kFloat8E5M2{5, 2, true, true};

TW_HD constexpr double power_of_two(int32 exponent) {
  return __builtin_bit_cast(double, uint64(exponent + 1023) << 52);
}

TW_HD constexpr double decode(SmallFloat format, uint32 code) {
  const uint32 magnitude = code & (format.sign() - 1);
  const double sign = code & format.sign() ? -1.0 : 1.0;
  if (format.infinities ? magnitude > format.infinity() : magnitude == format.nan())
    return not_a_number<double>();
  if (format.infinities && magnitude == format.infinity()) return sign * core::infinity<double>();
  const int32 exponent = int32(magnitude >> format.mantissa_bits);
  const uint32 hidden = exponent > 0 ? 1u << format.mantissa_bits : 0;
  const uint32 mantissa = (magnitude & ((1u << format.mantissa_bits) - 1)) | hidden;
  const int32 lowest = exponent > 0 ? exponent : 1;
  return sign * mantissa * power_of_two(lowest - format.bias() - format.mantissa_bits);
}

// mantissa / 2^dropped, to nearest with ties to even.
TW_HD constexpr uint64 rounded_shift(uint64 mantissa, int32 dropped) {
  const uint64 half = uint64{1} << (dropped - 1), odd = mantissa >> dropped & 1;
  return (mantissa + half - 1 + odd) >> dropped;
}

TW_HD constexpr uint32 encode(SmallFloat format, double value) {
  const uint64 bits = __builtin_bit_cast(uint64, value);
  const uint32 sign = bits >> 63 ? format.sign() : 0;
  const int32 exponent = int32(bits >> 52 & 0x7FF) - 1023;
  const uint64 fraction = bits & ((uint64{1} << 52) - 1);
  if (exponent == 1024 && fraction) return sign | format.nan();
  const uint32 beyond = format.saturates ? format.largest() : format.infinity();
  if (exponent > format.bias() + 1) return sign | beyond;

  // Drop all bits below the format's last place at this magnitude, rounding half to even. Values
  // far below the smallest subnormal, doubles' own subnormals among them, are 0.
  const int32 lowest = larger(exponent, 1 - format.bias());
  const int32 dropped = 52 - format.mantissa_bits + lowest - exponent;
  if (dropped > 53) return sign;
  const uint64 mantissa = fraction | uint64{1} << 52;
  const uint64 rounded = rounded_shift(mantissa, dropped);
  // A carry out of the mantissa lands in the exponent, which is where it belongs.
  const uint32 code =
      uint32(rounded) + (uint32(lowest + format.bias() - 1) << format.mantissa_bits);
  return sign | (code > format.largest() ? beyond : code);
}

}  // namespace tilewise::core
