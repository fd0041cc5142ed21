// Proves the conversions of small floats: every code against the definition of its format, every
// border between two neighbours, and random doubles against a search for the nearest code.
#include "core/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "tilewise/tilewise.h"

namespace tilewise::core {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A format as its specification has it, with nothing taken from SmallFloat but its name.
struct Format {
  const char* name;
  SmallFloat tested;
  int32 bits, mantissa_bits, bias;
  double largest;
  double beyond;  // what numbers too large become

  friend std::ostream& operator<<(std::ostream& out, const Format& format) {
    return out << format.name;
  }
};

const Format kFormats[] = {
    {"float16", kFloat16, 16, 10, 15, 65504, kInfinity},
    {"bfloat16", kBFloat16, 16, 7, 127, std::ldexp(255, 120), kInfinity},
    {"float8_e4m3", kFloat8E4M3, 8, 3, 7, 448, 448},
    {"float8_e5m2", kFloat8E5M2, 8, 2, 15, 57344, 57344},
};

class SmallFloats : public testing::TestWithParam<Format> {
 public:
  // The value of a code without its sign; IEEE's top exponent is infinity and NaN, e4m3's only
  // NaN is the very last code.
  static double value_of(const Format& format, uint32 magnitude) {
    const uint32 mantissas = 1u << format.mantissa_bits;
    const auto exponent = static_cast<int>(magnitude / mantissas);
    const auto mantissa = static_cast<double>(magnitude % mantissas);
    const bool top = exponent == (1 << (format.bits - 1 - format.mantissa_bits)) - 1;
    if (format.tested.infinities && top) return mantissa == 0 ? kInfinity : kNan;
    if (!format.tested.infinities && top && mantissa == mantissas - 1) return kNan;
    if (exponent == 0) return std::ldexp(mantissa, 1 - format.bias - format.mantissa_bits);
    return std::ldexp(mantissa + mantissas, exponent - format.bias - format.mantissa_bits);
  }

 protected:
  void SetUp() override {
    for (uint32 code = 0; value_of(format(), code) <= format().largest; ++code)
      finite_.push_back(value_of(format(), code));
  }

  const Format& format() const { return GetParam(); }
  uint32 sign() const { return 1u << (format().bits - 1); }

  // The nearest code, ties to even, by search. A number above the largest value fits if it is off
  // by less than half of the last step.
  uint32 nearest(double value) const {
    const uint32 side = std::signbit(value) ? sign() : 0;
    const double size = std::abs(value);
    const auto above = std::lower_bound(finite_.begin(), finite_.end(), size) - finite_.begin();
    const auto upper = static_cast<uint32>(above), last = static_cast<uint32>(finite_.size() - 1);
    if (upper > last) {
      const double step = finite_[last] - finite_[last - 1];
      const bool fits = size - finite_[last] < step / 2;
      return side | (fits || std::isfinite(format().beyond) ? last : last + 1);
    }
    if (finite_[upper] == size) return side | upper;
    const double below = size - finite_[upper - 1], left = finite_[upper] - size;
    if (below == left) return side | (upper % 2 == 0 ? upper : upper - 1);
    return side | (below < left ? upper - 1 : upper);
  }

  std::vector<double> finite_;  // the values of codes 0, 1, 2, ...: all finite ones, rising
};

TEST_P(SmallFloats, DecodeEveryCode) {
  int nans = 0;
  for (uint32 code = 0; code < 1u << format().bits; ++code) {
    const double size = value_of(format(), code % sign()), value = decode(format().tested, code);
    if (std::isnan(size)) {
      ASSERT_TRUE(std::isnan(value)) << code;
      ++nans;
      continue;
    }
    ASSERT_EQ(std::abs(value), size) << code;
    ASSERT_EQ(std::signbit(value), code >= sign()) << code;
  }
  const int mantissas = 1 << format().mantissa_bits;
  EXPECT_EQ(nans, format().tested.infinities ? 2 * (mantissas - 1) : 2);
  EXPECT_EQ(finite_.back(), format().largest);
}

TEST_P(SmallFloats, EncodeWhatTheyDecoded) {
  int64 codes = 0;
  for (uint32 code = 0; code < finite_.size(); ++code) {
    for (uint32 side : {uint32{0}, sign()}) {
      ASSERT_EQ(encode(format().tested, decode(format().tested, side | code)), side | code);
      ++codes;
    }
  }
  EXPECT_GE(codes, format().bits == 16 ? 60'000 : 240);
}

// The middle between two neighbours goes to the even one, other numbers to the nearer one. Above
// the largest value, a number does not fit from the middle to the next value on, if there were one.
TEST_P(SmallFloats, RoundAtEveryBorder) {
  const SmallFloat tested = format().tested;
  for (uint32 code = 0; code + 1 < finite_.size(); ++code) {
    const double low = finite_[code], high = finite_[code + 1], middle = low + (high - low) / 2;
    const uint32 even = code % 2 == 0 ? code : code + 1;
    for (double side : {1.0, -1.0}) {
      const uint32 bit = side < 0 ? sign() : 0;
      ASSERT_EQ(encode(tested, side * middle), bit | even) << middle;
      ASSERT_EQ(encode(tested, side * std::nextafter(middle, low)), bit | code) << middle;
      ASSERT_EQ(encode(tested, side * std::nextafter(middle, high)), bit | (code + 1)) << middle;
      ASSERT_EQ(encode(tested, side * std::nextafter(low, high)), bit | code) << low;
      ASSERT_EQ(encode(tested, side * std::nextafter(high, low)), bit | (code + 1)) << high;
    }
  }
}

TEST_P(SmallFloats, OverflowAsTheirFormatDoes) {
  const SmallFloat tested = format().tested;
  const auto last = static_cast<uint32>(finite_.size() - 1);
  const uint32 beyond = std::isinf(format().beyond) ? last + 1 : last;
  const double half_step = (finite_[last] - finite_[last - 1]) / 2;
  for (double side : {1.0, -1.0}) {
    const uint32 bit = side < 0 ? sign() : 0;
    EXPECT_EQ(encode(tested, side * format().largest), bit | last);
    EXPECT_EQ(encode(tested, side * std::nextafter(format().largest + half_step, 0.0)), bit | last);
    for (double size : {format().largest + half_step, 2 * format().largest, 1e300,
                        std::numeric_limits<double>::max(), kInfinity}) {
      EXPECT_EQ(encode(tested, side * size), bit | beyond) << size;
      EXPECT_EQ(decode(tested, encode(tested, side * size)), side * format().beyond) << size;
    }
  }
}

TEST_P(SmallFloats, KeepNanAndSignsOfZero) {
  const SmallFloat tested = format().tested;
  const double payload = std::bit_cast<double>(uint64{0x7FF0000000000001});
  for (double value : {kNan, -kNan, payload, -payload}) {
    const uint32 code = encode(tested, value);
    EXPECT_TRUE(std::isnan(decode(tested, code)));
    EXPECT_LT(code, 1u << format().bits);
  }
  EXPECT_EQ(encode(tested, 0.0), 0U);
  EXPECT_EQ(encode(tested, -0.0), sign());
  EXPECT_TRUE(std::signbit(decode(tested, sign())));
}

// Doubles up to half of the smallest value become 0 and keep their sign; so do doubles that are
// subnormal themselves.
TEST_P(SmallFloats, RoundTheVerySmallToZero) {
  const SmallFloat tested = format().tested;
  const double half = finite_[1] / 2;
  for (double size : {std::numeric_limits<double>::denorm_min(), 1e-310, half / 3,
                      std::numeric_limits<double>::min(), std::nextafter(half, 0.0), half}) {
    EXPECT_EQ(encode(tested, size), 0U) << size;
    EXPECT_EQ(encode(tested, -size), sign()) << size;
  }
  EXPECT_EQ(encode(tested, std::nextafter(half, 1.0)), 1U);
  EXPECT_EQ(encode(tested, -std::nextafter(half, 1.0)), sign() | 1);
}

// A double a little above the middle of two neighbours, rounded to float first, would be the middle
// itself, and would then go to the even neighbour, which is the lower one here.
TEST_P(SmallFloats, RoundOnceAndNotThroughFloat) {
  int64 different = 0;
  for (uint32 code = 0; code + 1 < finite_.size(); code += 2) {
    const double middle = (finite_[code] + finite_[code + 1]) / 2;
    const double above = middle * (1 + std::ldexp(1, -40));
    ASSERT_EQ(encode(format().tested, above), code + 1);
    different += encode(format().tested, static_cast<double>(static_cast<float>(above))) == code;
  }
  EXPECT_GE(different, static_cast<int64>(finite_.size() / 2 - 1));
}

TEST_P(SmallFloats, EncodeRandomDoublesToTheNearestCode) {
  std::mt19937_64 draw(11);
  const double smallest = std::log2(finite_[1]), largest = std::log2(format().largest);
  std::uniform_real_distribution<double> exponents(smallest - 3, largest + 2);
  for (int n = 0; n < 300'000; ++n) {
    const double near = std::exp2(exponents(draw)) * (n % 2 ? 1 : -1);
    ASSERT_EQ(encode(format().tested, near), nearest(near)) << near;
    const double any = std::bit_cast<double>(static_cast<uint64>(draw()));
    if (std::isnan(any)) continue;
    ASSERT_EQ(encode(format().tested, any), nearest(any)) << any;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, SmallFloats, testing::ValuesIn(kFormats),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(DType, HasTheNumbersOfThePublicHeader) {
  EXPECT_EQ(static_cast<int>(DType::kFloat32), TW_FLOAT32);
  EXPECT_EQ(static_cast<int>(DType::kFloat64), TW_FLOAT64);
  EXPECT_EQ(static_cast<int>(DType::kFloat16), TW_FLOAT16);
  EXPECT_EQ(static_cast<int>(DType::kBFloat16), TW_BFLOAT16);
  EXPECT_EQ(static_cast<int>(DType::kFloat8E4M3), TW_FLOAT8_E4M3);
  EXPECT_EQ(static_cast<int>(DType::kFloat8E5M2), TW_FLOAT8_E5M2);
  EXPECT_EQ(static_cast<int>(DType::kBool), TW_BOOL);
  EXPECT_EQ(static_cast<int>(DType::kInt32), TW_INT32);
  EXPECT_EQ(static_cast<int>(DType::kInt64), TW_INT64);
}

TEST(DType, KnowsItsBytesAndKinds) {
  constexpr int64 kBytes[] = {0, 4, 8, 2, 2, 1, 1, 1, 4, 8, 0};
  for (int32 number = 0; number <= 10; ++number) {
    const auto dtype = static_cast<DType>(number);
    EXPECT_EQ(bytes_of(dtype), kBytes[number]) << number;
    EXPECT_EQ(is_float(dtype), number >= TW_FLOAT32 && number <= TW_FLOAT8_E5M2) << number;
    EXPECT_EQ(is_index(dtype), number == TW_INT32 || number == TW_INT64) << number;
  }
}

TEST(DType, HasEveryNormalPowerOfTwo) {
  for (int32 exponent = -1022; exponent <= 1023; ++exponent)
    ASSERT_EQ(power_of_two(exponent), std::ldexp(1, exponent));
}

static_assert(encode(kFloat16, 1) == 0x3C00 && decode(kFloat16, 0xC000) == -2);
static_assert(encode(kBFloat16, 1) == 0x3F80 && encode(kFloat8E4M3, 448) == 0x7E);

}  // namespace
}  // namespace tilewise::core
