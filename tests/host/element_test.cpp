// Elements of every type in and out, aligned or not.
#include "host/element.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace tilewise {
namespace {

constexpr DType kFloats[] = {DType::kFloat32,  DType::kFloat64,    DType::kFloat16,
                             DType::kBFloat16, DType::kFloat8E4M3, DType::kFloat8E5M2};

TEST(Rows, StoreThenLoadKeepsWhatEveryTypeCanHold) {
  for (DType dtype : kFloats) {
    std::vector<std::byte> memory(8 * 8 + 1);
    const View view{memory.data(), dtype, {1, 1, 1, 8}, {0, 0, 0, 1}};
    const double from[8] = {0, 1, -1.5, 2, -0.25, 0.5, 16, -28};
    double to[8], wide[16] = {};
    store_row(view, {0, 8}, 2.0, from);
    load_row(view, {0, 8}, 0.5, to);
    load_row(view, {0, 8}, 1.0, wide, 2);
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(to[i], from[i]) << int(dtype);
      EXPECT_EQ(wide[2 * i], 2 * from[i]) << int(dtype);
    }
  }
}

TEST(Rows, StoreRoundsOnceFromDouble) {
  // Just above the middle of two float16 neighbours by less than float32 can say.
  const double value = 1 + 0x1p-11 + 0x1p-40;
  core::uint16 code = 0;
  const View view{reinterpret_cast<std::byte*>(&code), DType::kFloat16, {1, 1, 1, 1}, {}};
  store(view, 0, value);
  EXPECT_EQ(code, 0x3C01);
}

TEST(Rows, FloatPathEqualsTheGeneralOne) {
  const float from[5] = {1.25F, -3, 1e-30F, 7e30F, 0};
  const View view{reinterpret_cast<std::byte*>(const_cast<float*>(from)),
                  DType::kFloat32,
                  {1, 1, 1, 5},
                  {0, 0, 0, 1}};
  float fast[5];
  double general[5];
  load_row(view, {0, 5}, 1.0F, fast);
  load_row(view, {0, 5}, 1.0, general);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(fast[i], general[i]);
}

}  // namespace
}  // namespace tilewise
