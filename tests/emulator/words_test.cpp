// The words of tensor cores and of copies under way: what the emulator does for them, and which
// rules it holds a kernel to.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "backends/cuda/device/copy.h"
#include "backends/cuda/device/matrix.h"
#include "emulator/emulator.h"

namespace tilewise::emulator {
namespace {

using core::DType;
using cuda::Fragment;
using cuda::lane_index;
using cuda::shared_address;
using cuda::uint16;
using cuda::uint32;

std::string fault_of(const std::function<void()>& kernel) {
  try {
    run({.threads = 32, .shared_bytes = 256}, kernel);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return "none";
}

// Whole numbers, which both types hold.
template <DType type>
uint16 code_of(int number) {
  return static_cast<uint16>(cuda::pair_of<type>(static_cast<float>(number), 0));
}

int left_at(int i, int k) {
  return (3 * i + 5 * k) % 7 - 3;
}
int right_at(int k, int n) {
  return (2 * k + 7 * n) % 9 - 4;
}

struct Sides {
  uint16 left[16 * 16];   // rows of 16
  uint16 right[16 * 16];  // likewise
};

// Computes 1 + left * right, 16 x 16, in two halves of 8 columns, and writes the lane's elements to
// `sums`.
template <DType type>
void multiply_sides(Sides& sides, std::vector<float>& sums) {
  const int lane = lane_index(), corner = (lane % 16 * 16 + lane / 16 * 8) * 2;
  const Fragment left = cuda::load_matrices(shared_address(&sides.left) + corner);
  const Fragment right = cuda::load_matrices_transposed(shared_address(&sides.right) + corner);
  for (int n = 0; n < 2; ++n) {
    float half[4] = {1, 1, 1, 1};
    cuda::multiply<type>(half, left, {right.pair[2 * n], right.pair[2 * n + 1]});
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = n * 8 + lane % 4 * 2 + i % 2;
      sums[static_cast<std::size_t>(row) * 16 + static_cast<std::size_t>(column)] = half[i];
    }
  }
}

float product_at(int i, int n) {
  int sum = 1;
  for (int k = 0; k < 16; ++k) sum += left_at(i, k) * right_at(k, n);
  return static_cast<float>(sum);
}

template <DType type>
void check_product() {
  std::vector<float> sums(256, -1), want;
  run({.threads = 32, .shared_bytes = sizeof(Sides)}, [&] {
    auto& sides = cuda::shared_memory<Sides>();
    for (int n = lane_index(); n < 256; n += 32) {
      sides.left[n] = code_of<type>(left_at(n / 16, n % 16));
      sides.right[n] = code_of<type>(right_at(n / 16, n % 16));
    }
    cuda::block_barrier();
    multiply_sides<type>(sides, sums);
  });
  for (int n = 0; n < 256; ++n) want.push_back(product_at(n / 16, n % 16));
  EXPECT_EQ(sums, want);
}

TEST(Words, TensorCoresMultiply) {
  check_product<DType::kFloat16>();
  check_product<DType::kBFloat16>();
}

TEST(Words, AMatrixIsTransposed) {
  // Element (i, j) is 16 * i + j.
  const auto pair = [](uint32 low, uint32 high) { return low | high << 16; };
  std::vector<uint32> found(32), want;
  run({.threads = 32}, [&] {
    const auto g = static_cast<uint32>(lane_index() / 4), t = static_cast<uint32>(lane_index() % 4);
    const uint32 row = 16 * g + 2 * t;
    found[static_cast<std::size_t>(lane_index())] = cuda::transposed(pair(row, row + 1));
  });
  for (uint32 lane = 0; lane < 32; ++lane) {
    const uint32 column = 32 * (lane % 4) + lane / 4;
    want.push_back(pair(column, column + 16));
  }
  EXPECT_EQ(found, want);
}

TEST(Words, PairsAreRoundedToNearest) {
  EXPECT_EQ(cuda::pair_of<DType::kFloat16>(1.0f, -2.0f), 0xC0003C00u);
  EXPECT_EQ(cuda::pair_of<DType::kBFloat16>(1.0f, -2.0f), 0xC0003F80u);
  EXPECT_EQ(cuda::pair_of<DType::kBFloat16>(1 + 0x1p-8f, 1 + 0x1.8p-7f), 0x3F823F80u);
}

TEST(Words, AVoteIsOfTheWarp) {
  std::vector<int> said(64);
  run({.threads = 64}, [&] {
    const int t = cuda::thread_index();
    said[static_cast<std::size_t>(t)] = cuda::warp_any(t == 40);
  });
  for (int t = 0; t < 64; ++t) EXPECT_EQ(said[static_cast<std::size_t>(t)], t >= 32 ? 1 : 0);
}

struct alignas(16) Pieces {
  uint16 at[3][8];
};

// A copy's place holds NaNs until its thread waits for the copy's group.
TEST(Words, CopiesLandWhenTheyAreAwaited) {
  const Pieces from{{{1, 2, 3, 4, 5, 6, 7, 8}, {9, 9, 9, 9, 9, 9, 9, 9}, {}}};
  uint16 before = 0, first = 0, second = 0, later = 0, zeros = 1;
  run({.threads = 32, .shared_bytes = sizeof(Pieces)}, [&] {
    auto& to = cuda::shared_memory<Pieces>();
    if (lane_index() != 0) return;
    const auto* bytes = reinterpret_cast<const cuda::uint8*>(&from);
    cuda::copy_later(shared_address(&to.at[0]), bytes);
    cuda::commit_copies();
    cuda::copy_later(shared_address(&to.at[1]), bytes + 16);
    cuda::copy_or_zeros_later(shared_address(&to.at[2]), bytes, false);
    cuda::commit_copies();
    before = to.at[0][1];
    cuda::wait_for_copies<1>();
    first = to.at[0][1];
    second = to.at[1][1];
    cuda::wait_for_copies<0>();
    later = to.at[1][1];
    zeros = to.at[2][1];
  });
  EXPECT_EQ(before, 0xFFFF);
  EXPECT_EQ(first, 2);
  EXPECT_EQ(second, 0xFFFF);
  EXPECT_EQ(later, 9);
  EXPECT_EQ(zeros, 0);
}

TEST(Words, BrokenRulesAreNamed) {
  alignas(16) static const cuda::uint8 from[32] = {};
  EXPECT_EQ(fault_of([] {
              cuda::copy_later({8}, from);
              cuda::wait_for_copies<0>();
            }),
            "cp.async at an address that 16 does not divide: thread 0 of block 0.");
  EXPECT_EQ(fault_of([] { cuda::copy_later({0}, from + 8); }),
            "cp.async from an address that 16 does not divide: thread 0 of block 0.");
  EXPECT_EQ(fault_of([] { cuda::load_matrices({256}); }),
            "ldmatrix beyond shared memory: thread 0 of block 0.");
  EXPECT_EQ(fault_of([] {
              cuda::copy_later({0}, from);
              cuda::commit_copies();
            }),
            "a thread ends while copies that it began are on their way: thread 0 of block 0.");
  EXPECT_EQ(
      fault_of([] {
        if (lane_index() == 3)
          cuda::warp_barrier();
        else
          cuda::load_matrices({0});
      }),
      "lanes of a warp come to different words: in block 0, thread 0 to ldmatrix, thread 3 to "
      "a shuffle or barrier.");
}

}  // namespace
}  // namespace tilewise::emulator
