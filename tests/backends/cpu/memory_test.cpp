// Elements of every type, in and out of scratch memory, on each instruction set.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "every_isa.h"
#include "host/element.h"

namespace tilewise::cpu {
namespace {

struct Small {
  DType dtype;
  core::SmallFloat format;
};
constexpr Small kSmall[] = {{DType::kFloat16, core::kFloat16},
                            {DType::kBFloat16, core::kBFloat16},
                            {DType::kFloat8E4M3, core::kFloat8E4M3},
                            {DType::kFloat8E5M2, core::kFloat8E5M2}};

// Bits, since 0 and -0 differ; one NaN is like another.
bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<uint32>(a) == std::bit_cast<uint32>(b);
}

class CpuMemory : public EveryIsa {
 protected:
  [[nodiscard]] const Kernels<float>& kernels() const { return isa().of_numbers.in_float; }

  // Loads `bytes` as a row that ends where its memory ends.
  std::vector<float> read(DType dtype, const std::vector<std::byte>& bytes, float factor) const {
    const auto dim = static_cast<int64>(bytes.size()) / core::bytes_of(dtype);
    std::byte* row = const_cast<std::byte*>(bytes.data());
    std::vector<float> to(static_cast<std::size_t>(dim));
    kernels().rows.load({&row, 1, dim, dtype}, factor, {to.data(), dim}, 1);
    return to;
  }

  std::vector<std::byte> write(DType dtype, const std::vector<float>& numbers) const {
    const auto dim = static_cast<int64>(numbers.size());
    std::vector<std::byte> bytes(static_cast<std::size_t>(dim * core::bytes_of(dtype)));
    std::byte* row = bytes.data();
    const float factor = 1;
    kernels().rows.store({&row, 1, dim, dtype}, &factor, {numbers.data(), dim});
    return bytes;
  }

  void expect_written(const Small& small, const std::vector<float>& numbers) const {
    const std::vector<std::byte> bytes = write(small.dtype, numbers);
    int wrong = 0;
    for (std::size_t n = 0; n < numbers.size() && wrong < 5; ++n) {
      core::uint16 got = 0;
      std::memcpy(&got, bytes.data() + 2 * n, sizeof got);
      const auto want = static_cast<core::uint16>(encode(small.format, numbers[n]));
      const bool is_nan = std::isnan(numbers[n]) && std::isnan(decode(small.format, got));
      if (got == want || is_nan) continue;
      ++wrong;
      ADD_FAILURE() << name_of(small.dtype) << " of " << std::bit_cast<uint32>(numbers[n]) << " is "
                    << got << ", not " << want;
    }
  }
};
TW_ON_EVERY_ISA(CpuMemory);

TEST_P(CpuMemory, ReadsEveryCode) {
  for (const Small& small : kSmall) {
    const auto bytes = static_cast<std::size_t>(core::bytes_of(small.dtype));
    const uint32 codes = bytes == 1 ? 256 : 65536;
    std::vector<std::byte> row(codes * bytes);
    for (uint32 code = 0; code < codes; ++code)
      std::memcpy(row.data() + code * bytes, &code, bytes);  // the low bytes come first
    const std::vector<float> got = read(small.dtype, row, 1);
    for (uint32 code = 0; code < codes; ++code) {
      const auto want = static_cast<float>(decode(small.format, code));
      ASSERT_TRUE(same(got[code], want))
          << name_of(small.dtype) << " " << code << ": " << got[code] << ", not " << want;
    }
  }
}

TEST_P(CpuMemory, WritesEveryCodeBackAndRoundsAroundIt) {
  for (const Small& small : {kSmall[0], kSmall[1]}) {
    std::vector<float> numbers;
    for (uint32 code = 0; code < 65536; ++code) {
      const auto number = static_cast<float>(decode(small.format, code));
      const auto next = static_cast<float>(decode(small.format, code + 1));
      const float middle = number + (next - number) / 2;
      for (const float x : {number, middle}) {
        numbers.insert(numbers.end(),
                       {x, std::nextafter(x, -std::numeric_limits<float>::infinity()),
                        std::nextafter(x, std::numeric_limits<float>::infinity())});
      }
    }
    expect_written(small, numbers);
  }
}

TEST_P(CpuMemory, WritesRandomBits) {
  std::mt19937 random(7);
  std::vector<float> numbers(1 << 20);
  for (float& number : numbers) number = std::bit_cast<float>(static_cast<uint32>(random()));
  expect_written(kSmall[0], numbers);
  expect_written(kSmall[1], numbers);
  // Most random bits are far beyond float16's range, so float16 is tested again near its range.
  for (float& number : numbers)
    number = std::bit_cast<float>(static_cast<uint32>((random() & 0x8FFFFFFF) | 0x30000000));
  expect_written(kSmall[0], numbers);
}

// Every length up to 40, so some around a vector's. A sanitizer sees reads and writes beyond the
// row.
TEST_P(CpuMemory, KeepsToItsRows) {
  for (int64 dim = 1; dim <= 40; ++dim) {
    std::vector<float> numbers;
    for (int64 c = 0; c < dim; ++c) numbers.push_back(static_cast<float>(c) - 3.5F);
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
      const std::vector<std::byte> bytes = write(dtype, numbers);
      const std::vector<float> got = read(dtype, bytes, 2);
      for (std::size_t c = 0; c < numbers.size(); ++c) EXPECT_EQ(got[c], 2 * numbers[c]);
    }
  }
}

TEST_P(CpuMemory, FillsWhatIsBehindRowsWithZeros) {
  in_both([]<class T>(const Kernels<T>& k) {
    constexpr int64 kDim = 5, kPitch = 8, kPadded = 4;
    const DType dtype = sizeof(T) == 8 ? DType::kFloat64 : DType::kFloat32;
    std::vector<T> row{1, 2, 3, 4, 5};
    std::byte* at[] = {reinterpret_cast<std::byte*>(row.data())};
    std::vector<T> to(kPitch * kPadded, T(-1));
    k.rows.load({at, 1, kDim, dtype}, T(3), {to.data(), kPitch}, kPadded);
    for (std::size_t n = 0; n < to.size(); ++n)
      EXPECT_EQ(to[n], n < row.size() ? 3 * row[n] : T(0)) << n;
  });
}

TEST_P(CpuMemory, PutsColumnsIntoPanels) {
  in_both([]<class T>(const Kernels<T>& k) {
    constexpr int64 kDim = 11, kRows = 3, kKeys = 16, kColumns = 16;
    const DType dtype = sizeof(T) == 8 ? DType::kFloat64 : DType::kFloat32;
    std::vector<T> rows(kRows * kDim);
    for (std::size_t n = 0; n < rows.size(); ++n) rows[n] = static_cast<T>(n + 1);
    std::byte* at[kRows];
    for (int64 r = 0; r < kRows; ++r) at[r] = reinterpret_cast<std::byte*>(rows.data() + r * kDim);
    std::vector<T> panels(kColumns * kKeys), row(kColumns + 64);
    k.rows.load_panels({at, kRows, kDim, dtype}, T(2), panels.data(), kKeys, row.data());
    for (int64 r = 0; r < kRows; ++r) {
      for (int64 c = 0; c < kColumns; ++c) {
        const int64 place = c / kPanel * kKeys * kPanel + r * kPanel + c % kPanel;
        const T want = c < kDim ? 2 * rows[static_cast<std::size_t>(r * kDim + c)] : T(0);
        EXPECT_EQ(panels[static_cast<std::size_t>(place)], want) << r << " " << c;
      }
    }
  });
}

TEST_P(CpuMemory, TransposesRowsIntoLanesAndBack) {
  in_both([]<class T>(const Kernels<T>& k) {
    for (int64 vectors = 1; vectors <= k.pitch / k.lanes; ++vectors) {
      const int64 columns = 2 * k.lanes, pitch = columns + 3, rows = vectors * k.lanes;
      std::vector<T> from(static_cast<std::size_t>(rows * pitch)), back(from.size());
      for (std::size_t n = 0; n < from.size(); ++n) from[n] = static_cast<T>(n);
      std::vector<T> lanes(static_cast<std::size_t>(columns * k.pitch));
      k.rows.to_lanes({from.data(), pitch}, columns, vectors, lanes.data());
      k.rows.from_lanes(lanes.data(), columns, vectors, {back.data(), pitch});
      for (int64 r = 0; r < rows; ++r) {
        for (int64 c = 0; c < columns; ++c) {
          const auto at = static_cast<std::size_t>(r * pitch + c);
          ASSERT_EQ(lanes[static_cast<std::size_t>(c * k.pitch + r)], from[at]);
          ASSERT_EQ(back[at], from[at]);
        }
      }
    }
  });
}

}  // namespace
}  // namespace tilewise::cpu
