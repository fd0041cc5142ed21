// When keys are scored where they lie: only where every byte that is read is theirs, and means what
// a copy would.
#include "backends/cpu/keys.h"

#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuKeys : public EveryIsa {};
TW_ON_EVERY_ISA(CpuKeys);

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

  // As far as `score` reads beyond the last row of a stretch.
  const int64 last = kernels.ends ? kLength / kRowStep * kRowStep : kLength - kKeysBeyond;
  EXPECT_NE(lies_at(usual, kernels, {200, last}).data, nullptr);
  EXPECT_EQ(lies_at(usual, kernels, {200, last + 1}).data, nullptr);

  Problem odd = usual;
  odd.key.data = at + core::bytes_of(dtype) / 2;
  EXPECT_EQ(lies_at(odd, kernels).data, nullptr) << "between two elements";
  odd = usual;
  odd.shape.dim = kDim - 1;
  EXPECT_EQ(lies_at(odd, kernels).data, nullptr) << "no whole vectors";
  odd = usual;
  odd.key.stride.row = kDim + 1;
  EXPECT_EQ(lies_at(odd, kernels).data == nullptr, packed == 2) << "half a pair from row to row";
  odd = usual;
  odd.key.dtype = DType::kFloat8E5M2;
  EXPECT_EQ(lies_at(odd, kernels).data, nullptr) << "another type";
  odd = usual;
  odd.scaling.key = usual.key;
  EXPECT_EQ(lies_at(odd, kernels).data, nullptr) << "scaled";
  odd = usual;
  odd.keys.page_table = usual.key;
  EXPECT_EQ(lies_at(odd, kernels).data, nullptr) << "in pages";
}

TEST_P(CpuKeys, AreUsedInPlaceWhereThatIsTheSame) {
  expect_places(isa().of_numbers.in_float, DType::kFloat32);
  expect_places(isa().of_numbers.in_double, DType::kFloat64);
}

TEST_P(CpuKeys, AreUsedInPlaceAsPairs) {
  if (isa().of_bfloat16.lanes == 0) GTEST_SKIP() << "no products of pairs";
  expect_places(isa().of_bfloat16, DType::kBFloat16);
}

}  // namespace
}  // namespace tilewise::cpu
