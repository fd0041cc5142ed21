// What is added to a tile's scores, against a loop: bias, boolean mask and blocks, each alone and
// all together, whole or broadcast.
#include "backends/cpu/scoring/bias.h"

#include <algorithm>
#include <limits>

#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuBias : public EveryIsa {};
TW_ON_EVERY_ISA(CpuBias);

constexpr int64 kQueries = 70, kKeysHere = 150, kBlock = 16;
constexpr Axes kWhole{1, 1, kQueries, kKeysHere};
constexpr Axes kBlocks{1, 1, (kQueries + kBlock - 1) / kBlock, (kKeysHere + kBlock - 1) / kBlock};

View view_of(std::vector<std::byte>& bytes, DType dtype, Axes size) {
  const int64 row = size.row == 1 ? 0 : size.column, column = size.column == 1 ? 0 : 1;
  bytes.resize(static_cast<std::size_t>(size.row * size.column * core::bytes_of(dtype)));
  return {bytes.data(), dtype, size, {0, 0, row, column}};
}

// A problem of one head with tensors of its own.
struct Given {
  Given() {
    p.shape = {1, kQueries, kKeysHere, 1, 1, 8, 8};
    p.mask.block_query = p.mask.block_key = kBlock;
  }

  void add_bias(DType dtype, Axes size) {
    p.scores.bias = view_of(bias, dtype, size);
    for (int64 n = 0; n < size.row * size.column; ++n)
      tilewise::store(p.scores.bias, n, static_cast<double>(n % 31 - 15));
  }

  void add_mask(Axes size, int64 hidden) {
    p.mask.visible = view_of(visible, DType::kBool, size);
    for (std::size_t n = 0; n < visible.size(); ++n)
      visible[n] = std::byte(static_cast<int64>(n) % 7 == hidden ? 0 : n % 3 + 1);
  }

  void add_blocks(int64 hidden) {
    p.mask.blocks = view_of(blocks, DType::kBool, kBlocks);
    for (std::size_t n = 0; n < blocks.size(); ++n)
      blocks[n] = std::byte(static_cast<int64>(n) % 3 == hidden ? 0 : 1);
  }

  template <class T>
  [[nodiscard]] T at(int64 i, int64 j) const {
    const View &mask = p.mask.visible, &added = p.scores.bias;
    if ((mask && *mask.at(mask.offset(0, 0, i, j)) == std::byte{0}) ||
        (p.mask.blocks && !blocks_of(p, 0, 0).visible(i, j)))
      return -std::numeric_limits<T>::infinity();
    return added ? load<T>(added, added.offset(0, 0, i, j)) : T(0);
  }

  Problem p;
  std::vector<std::byte> bias, visible, blocks;
};

// What a bundle's lanes should find: by key, then by lane.
template <class T>
std::vector<T> wanted(const Given& given, Range rows, Range columns) {
  std::vector<T> numbers;
  for (int64 j = columns.begin; j < columns.end; ++j)
    for (int64 i = rows.begin; i < rows.end; ++i) numbers.push_back(given.at<T>(i, j));
  return numbers;
}

// The bundles of a tile that begins and ends inside blocks, over keys that do.
template <class T>
void expect_bias(const Kernels<T>& k, const Given& given) {
  std::vector<std::byte> memory(1 << 20);
  Arena arena(aligned(memory.data()));
  Bundle<T> bundle(given.p, k, arena);
  const BiasScratch<T> scratch(given.p, k, arena);
  const Bias<T> bias(given.p, k, scratch);
  const QueryTile tile{0, 0, 1, {5, 64}};
  for (const Range columns : {Range{0, 128}, Range{24, 29}, Range{128, 150}}) {
    for (int64 first = 0; first < tile.lanes(); first += k.pitch) {
      bundle.place(given.p, k, tile, first);
      const T* got = bias.load(tile, bundle, columns);
      const int64 row = tile.row(first);
      const std::vector<T> want = wanted<T>(given, {row, row + bundle.count}, columns);
      const bool hides = std::any_of(want.begin(), want.end(), [](T x) { return x != 0; });
      ASSERT_EQ(got != nullptr, given.p.scores.bias || hides);
      for (std::size_t n = 0; got != nullptr && n < want.size(); ++n) {
        const auto at = static_cast<int64>(n);
        ASSERT_EQ(got[at / bundle.count * k.pitch + at % bundle.count], want[n])
            << "row " << row + at % bundle.count << ", key " << columns.begin + at / bundle.count;
      }
    }
  }
}

TEST_P(CpuBias, LoadsEveryType) {
  in_both([]<class T>(const Kernels<T>& k) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16,
                              DType::kFloat8E4M3, DType::kFloat8E5M2}) {
      for (const Axes size : {kWhole, Axes{1, 1, 1, kKeysHere}, Axes{1, 1, kQueries, 1}}) {
        SCOPED_TRACE(testing::Message() << name_of(dtype) << ", rows " << size.row);
        Given given;
        given.add_bias(dtype, size);
        expect_bias(k, given);
      }
    }
  });
}

TEST_P(CpuBias, HidesBytesAndBlocks) {
  in_both([]<class T>(const Kernels<T>& k) {
    for (const Axes size : {kWhole, Axes{1, 1, 1, kKeysHere}}) {
      Given given;
      given.add_mask(size, 3);
      expect_bias(k, given);
      given.add_blocks(1);
      expect_bias(k, given);
      given.add_bias(DType::kBFloat16, kWhole);
      expect_bias(k, given);
    }
    Given rows;
    rows.add_mask({1, 1, kQueries, 1}, 3);
    expect_bias(k, rows);
  });
}

TEST_P(CpuBias, IsNoneWhereNothingIsHidden) {
  in_both([]<class T>(const Kernels<T>& k) {
    Given given;
    given.add_mask(kWhole, -1);
    expect_bias(k, given);
    given.add_blocks(-1);
    expect_bias(k, given);
  });
}

// Also in the kernels that multiply pairs of bfloat16.
TEST_P(CpuBias, TransposesNumbers) {
  if (isa().of_bfloat16.lanes == 0) GTEST_SKIP() << "no products of pairs";
  Given given;
  given.add_bias(DType::kFloat32, kWhole);
  expect_bias(isa().of_bfloat16, given);
}

}  // namespace
}  // namespace tilewise::cpu
