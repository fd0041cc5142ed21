// Numbers of 16 bits: the conversions agree with the formats' own definitions.
#include "cli/core/element.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "cli/core/failure.h"

namespace tilewise::cli {
namespace {

TEST(Element, EveryFloat16ComesBack) {
  for (int bits = 0; bits <= 0xffff; ++bits) {
    const double value = from_float16(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(from_float16(to_float16(value))));
    } else {
      EXPECT_EQ(to_float16(value), bits);
    }
  }
}

TEST(Element, Bfloat16IsTheUpperHalfOfFloat32) {
  for (int bits = 0; bits <= 0xffff; ++bits) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
    if (std::isnan(value)) continue;
    EXPECT_EQ(from_bfloat16(static_cast<std::uint16_t>(bits)), static_cast<double>(value));
    EXPECT_EQ(to_bfloat16(static_cast<double>(value)), bits);
  }
}

TEST(Element, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(from_float16(to_float16(2049)), 2048);
  EXPECT_EQ(from_float16(to_float16(2051)), 2052);
  EXPECT_EQ(from_float16(to_float16(65519.9)), 65504);
  EXPECT_TRUE(std::isinf(from_float16(to_float16(65520))));
  EXPECT_EQ(to_float16(0x1p-25), 0);
  EXPECT_EQ(to_float16(0x1.8p-24), 2);
  EXPECT_EQ(from_bfloat16(to_bfloat16(1 + 0x1p-8)), 1);
  EXPECT_EQ(from_bfloat16(to_bfloat16(1 + 0x3p-8)), 1 + 0x1p-6);
}

TEST(Element, NamesAreTheLibrarys) {
  EXPECT_EQ(dtype_from_name("bfloat16"), TW_BFLOAT16);
  EXPECT_THROW((void)dtype_from_name("int32"), Failure);
}

TEST(Element, StoresWhatItLoads) {
  for (const std::int32_t dtype : {TW_FLOAT32, TW_FLOAT64, TW_FLOAT16, TW_BFLOAT16}) {
    double memory[4] = {};
    store_element(dtype, memory, 3, -1.5);
    EXPECT_EQ(load_element(dtype, memory, 3), -1.5);
    EXPECT_EQ(load_element(dtype, memory, 2), 0);
  }
}

}  // namespace
}  // namespace tilewise::cli
