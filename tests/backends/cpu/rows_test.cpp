// Where rows of keys begin, and when keys are scored in place: only if every byte that is read
// belongs to them, and the result is that of a copy.
#include "backends/cpu/rows.h"

#include <array>

#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuRows : public EveryIsa {};
TW_ON_EVERY_ISA(CpuRows);

constexpr int64 kLength = 300, kHeads = 3, kDim = 64;

// Keys that lie head by head, from `memory` on.
Problem problem_at(std::byte* memory, DType dtype) {
  Problem p;
  p.shape = {1, 1, kLength, kHeads, kHeads, kDim, kDim};
  p.keys.rows = kLength;
  p.key.data = memory;
  p.key.dtype = dtype;
  p.key.stride = {kHeads * kLength * kDim, kLength * kDim, kDim, 1};
  return p;
}

template <class T>
Matrix<const T> lies_at(const Problem& p, const Kernels<T>& kernels, Range rows = {128, 256}) {
  const Place place{0, 0, 0, kLength};
  return keys_in_place(p, kernels, {p.keys, place, 2}, rows);
}

template <class T>
void expect_places(const Kernels<T>& kernels, DType dtype) {
  const int64 packed = kernels.packed();
  std::vector<T> memory(static_cast<std::size_t>(kHeads * kLength * (kDim + 1)));
  auto* at = reinterpret_cast<std::byte*>(memory.data());
  const Problem usual = problem_at(at, dtype);
  const Matrix<const T> found = lies_at(usual, kernels);
  EXPECT_EQ(found.pitch, kDim / packed);
  EXPECT_EQ(reinterpret_cast<const std::byte*>(found.data),
            usual.key.at((2 * kLength + 128) * kDim));

  // `score` reads beyond the last row of a range, so ranges near the end are copied.
  const int64 last = kernels.ends ? kLength / kRowStep * kRowStep : kLength - kKeysBeyond;
  EXPECT_NE(lies_at(usual, kernels, {200, last}).data, nullptr);
  EXPECT_EQ(lies_at(usual, kernels, {200, last + 1}).data, nullptr);

  Problem other = usual;
  other.key.data = at + core::bytes_of(dtype) / 2;
  EXPECT_EQ(lies_at(other, kernels).data, nullptr) << "between two elements";
  other = usual;
  other.shape.dim = kDim - 1;
  EXPECT_EQ(lies_at(other, kernels).data, nullptr) << "no whole vectors";
  other = usual;
  other.key.stride.row = kDim + 1;
  EXPECT_EQ(lies_at(other, kernels).data == nullptr, packed == 2) << "half a pair from row to row";
  other = usual;
  other.key.dtype = DType::kFloat8E5M2;
  EXPECT_EQ(lies_at(other, kernels).data, nullptr) << "another type";
  other = usual;
  other.scaling.key = usual.key;
  EXPECT_EQ(lies_at(other, kernels).data, nullptr) << "scaled";
  other = usual;
  other.keys.page_table = usual.key;
  EXPECT_EQ(lies_at(other, kernels).data, nullptr) << "in pages";
}

TEST_P(CpuRows, AreUsedInPlaceWhereThatIsTheSame) {
  expect_places(isa().of_numbers.in_float, DType::kFloat32);
  expect_places(isa().of_numbers.in_double, DType::kFloat64);
}

TEST_P(CpuRows, AreUsedInPlaceAsPairs) {
  if (isa().of_bfloat16.lanes == 0) GTEST_SKIP() << "no products of pairs";
  expect_places(isa().of_bfloat16, DType::kBFloat16);
}

void expect_rows(const Problem& p, Range rows) {
  const Place place{0, 0, 7, kLength};
  std::vector<std::byte*> at(static_cast<std::size_t>(rows.size()) + 1);
  const Rows found = RowList{at.data()}.of_keys(p.key, {p.keys, place, 2}, rows, kDim);
  EXPECT_EQ(found.count, rows.size());
  for (int64 i = 0; i < rows.size(); ++i)
    EXPECT_EQ(found.at[i], p.key.at(row_of(p.keys, p.key, place, 2, rows.begin + i))) << i;
  EXPECT_EQ(at.back(), nullptr);
}

TEST(CpuRowList, SaysWhereRowsBegin) {
  std::vector<float> memory(static_cast<std::size_t>(kHeads * kLength * kDim));
  Problem p = problem_at(reinterpret_cast<std::byte*>(memory.data()), DType::kFloat32);
  std::array<std::int32_t, 6> pages{4, 1, 0, 5, 2, 3};
  for (const int64 step : {kDim, kDim / 2, int64{0}, -kDim}) {
    p.key.stride.row = step;
    for (const Range rows : {Range{5, 38}, Range{0, 1}, Range{9, 9}, Range{9, 3}})
      expect_rows(p, rows);
  }
  p.key.stride = {8 * kDim, 48 * kDim, kDim, 1};
  p.keys.page_table.data = reinterpret_cast<std::byte*>(pages.data());
  p.keys.page_table.dtype = DType::kInt32;
  p.keys.page_table.stride.column = 1;
  p.keys.page_size = 8;
  expect_rows(p, {5, 38});
}

}  // namespace
}  // namespace tilewise::cpu
