// The strided search against brute force, and the layouts that people really have.
#include "problem/overlap.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "sanitizers.h"

namespace tilewise {
namespace {

constexpr int64 Axes::*kAxes[] = {&Axes::batch, &Axes::head, &Axes::row, &Axes::column};

std::byte* address(std::uintptr_t at) {
  return reinterpret_cast<std::byte*>(at);
}

View view(std::uintptr_t at, DType dtype, Axes size, Axes stride) {
  View view{.dtype = dtype, .size = size, .stride = stride};
  view.data = address(at);
  return view;
}

// The first byte of every element.
std::vector<int64> elements(const View& view) {
  std::vector<int64> all;
  const auto begin = static_cast<int64>(reinterpret_cast<std::uintptr_t>(view.data));
  for (int64 b = 0; b < view.size.batch; ++b)
    for (int64 h = 0; h < view.size.head; ++h)
      for (int64 i = 0; i < view.size.row; ++i)
        for (int64 j = 0; j < view.size.column; ++j)
          all.push_back(begin + view.offset(b, h, i, j) * core::bytes_of(view.dtype));
  return all;
}

std::set<int64> bytes(const View& view) {
  std::set<int64> all;
  for (const int64 first : elements(view))
    for (int64 k = 0; k < core::bytes_of(view.dtype); ++k) all.insert(first + k);
  return all;
}

bool share_slowly(const View& a, const View& b) {
  const std::set<int64> of_a = bytes(a);
  for (const int64 byte : bytes(b)) {
    if (of_a.count(byte)) return true;
  }
  return false;
}

bool folds_slowly(const View& view) {
  return bytes(view).size() != elements(view).size() * std::size_t(core::bytes_of(view.dtype));
}

class Random {
 public:
  int64 from(int64 low, int64 high) {
    return std::uniform_int_distribution<int64>(low, high)(engine_);
  }

  View next(int64 widest_stride) {
    static constexpr DType kTypes[] = {DType::kBool, DType::kFloat16, DType::kFloat32,
                                       DType::kFloat64};
    View view;
    view.dtype = kTypes[from(0, 3)];
    view.data = address(static_cast<std::uintptr_t>((1 << 20) + 8 * from(-100, 100)));
    for (const auto axis : kAxes) {
      view.size.*axis = from(0, 19) == 0 ? 0 : from(1, 5);
      view.stride.*axis = from(-widest_stride, widest_stride);
    }
    return view;
  }

 private:
  std::mt19937_64 engine_{20240607};
};

// Fewer cases under a sanitizer, where each takes ten times as long.
constexpr int kCases = TW_ADDRESS_SANITIZER || TW_THREAD_SANITIZER ? 3000 : 12000;

TEST(ShareBytes, AgreesWithBruteForce) {
  Random random;
  int shared = 0, apart = 0;
  for (int k = 0; k < kCases; ++k) {
    const int64 widest = int64{1} << random.from(0, 8);
    const View a = random.next(widest), b = random.next(widest);
    const bool slowly = share_slowly(a, b);
    ASSERT_EQ(overlap(a, b), slowly ? Answer::kYes : Answer::kNo) << "case " << k;
    ASSERT_EQ(overlap(b, a), overlap(a, b)) << "case " << k;
    ++(slowly ? shared : apart);
  }
  EXPECT_GT(shared, kCases / 6);
  EXPECT_GT(apart, kCases / 6);
}

TEST(ShareBytes, AgreesWithBruteForceOnFewBytesAmongMany) {
  Random random;
  int shared = 0, apart = 0;
  for (int k = 0; k < 4000; ++k) {
    View a = random.next(2000), b = random.next(2000);
    a.dtype = b.dtype = DType::kBool;
    const bool slowly = share_slowly(a, b);
    ASSERT_EQ(overlap(a, b), slowly ? Answer::kYes : Answer::kNo) << "case " << k;
    ++(slowly ? shared : apart);
  }
  EXPECT_GT(shared, 200);
  EXPECT_GT(apart, 200);
}

TEST(Folds, AgreesWithBruteForce) {
  Random random;
  int folded = 0, flat = 0;
  for (int k = 0; k < kCases; ++k) {
    const View a = random.next(int64{1} << random.from(0, 9));
    const bool slowly = folds_slowly(a);
    ASSERT_EQ(folds(a), slowly ? Answer::kYes : Answer::kNo) << "case " << k;
    ++(slowly ? folded : flat);
  }
  EXPECT_GT(folded, kCases / 6);
  EXPECT_GT(flat, kCases / 6);
}

// Two gradients of a fused projection, side by side in each row of one buffer.
TEST(ShareBytes, LetsInterleavedTensorsPass) {
  const int64 rows = 4096, heads = 32, dim = 128, row = 3 * heads * dim;
  const Axes size{16, heads, rows, dim}, stride{rows * row, dim, row, 1};
  const View first = view(1 << 20, DType::kBFloat16, size, stride);
  const View second = view((1 << 20) + 2 * heads * dim, DType::kBFloat16, size, stride);
  const View late = view((1 << 20) + 2 * heads * dim - 2, DType::kBFloat16, size, stride);
  EXPECT_EQ(overlap(first, second), Answer::kNo);
  EXPECT_EQ(overlap(first, late), Answer::kYes);
  EXPECT_EQ(overlap(second, late), Answer::kYes);
  EXPECT_EQ(folds(first), Answer::kNo);
}

// Two tensors in one buffer, each in the gaps of the other: one has its rows outside its heads, the
// other its heads outside its rows.
TEST(ShareBytes, DecidesTransposedLayouts) {
  const Axes size{64, 16, 1024, 64};
  const View by_row = view(1 << 20, DType::kFloat32, size, {1024 * 16 * 128, 128, 16 * 128, 1});
  const View by_head =
      view((1 << 20) + 4 * 64, DType::kFloat32, size, {1024 * 16 * 128, 1024 * 128, 128, 1});
  EXPECT_EQ(overlap(by_row, by_head), Answer::kNo);
  View late = by_head;
  late.data += 4;
  EXPECT_EQ(overlap(by_row, late), Answer::kYes);
}

TEST(ShareBytes, ReachesAcrossHugeStrides) {
  const int64 far = int64{1} << 54;
  const Axes size{33, 1, 1 << 20, 64}, stride{far, 0, 64, 1};
  const View a = view(1 << 20, DType::kFloat16, size, stride);
  View b = view((1 << 20) + 2 * 32 * far, DType::kFloat16, {1, 1, 1, 1}, {});
  EXPECT_EQ(overlap(a, b), Answer::kYes);
  b.data += 2 * (1 << 26);
  EXPECT_EQ(overlap(a, b), Answer::kNo);
}

// Eight strides without order, and single bytes: a search that would take ages is given up, and
// says so.
TEST(ShareBytes, GivesUpOnTangledStrides) {
  const View a = view(1 << 20, DType::kBool, {20, 20, 20, 20},
                      {1000000007, 1131793849, 1298300413, 1475329937});
  const View b = view((1 << 20) + 3000000001, DType::kBool, {20, 20, 20, 20},
                      {1067845127, 1201938173, 1373920201, 1543218877});
  EXPECT_EQ(overlap(a, b), Answer::kUnknown);
}

TEST(ShareBytes, FindsNothingInEmptyTensors) {
  const View a = view(1 << 20, DType::kFloat32, {0, 4, 4, 4}, {});
  EXPECT_EQ(overlap(a, a), Answer::kNo);
  EXPECT_EQ(folds(a), Answer::kNo);
}

}  // namespace
}  // namespace tilewise
