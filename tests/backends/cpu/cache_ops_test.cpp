// Rows that are rotated, converted and added up beside attention: rounded once, from double.
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "every_isa.h"
#include "host/element.h"

namespace tilewise::cpu {
namespace {

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16};

class CpuCacheOps : public EveryIsa {
 protected:
  // Holds each result against core's, which rounds once.
  void expect_written(DType dtype, std::vector<double> numbers) const {
    const auto count = static_cast<int64>(numbers.size());
    const int64 bytes = core::bytes_of(dtype);
    std::vector<std::byte> to(static_cast<std::size_t>(count * bytes));
    numbers.resize(numbers.size() + 64);
    isa().of_numbers.cache.write(numbers.data(), {to.data(), dtype}, count);
    int wrong = 0;
    for (int64 n = 0; n < count && wrong < 5; ++n) {
      const double number = numbers[static_cast<std::size_t>(n)];
      std::byte want[8] = {};
      store(dtype, want, number);
      const auto got = load<double>(dtype, to.data() + n * bytes);
      const auto right = load<double>(dtype, want);
      if (std::bit_cast<uint64>(got) == std::bit_cast<uint64>(right)) continue;
      if (std::isnan(got) && std::isnan(right)) continue;
      ++wrong;
      ADD_FAILURE() << name_of(dtype) << " of " << std::hexfloat << number << " is " << got
                    << ", not " << right;
    }
  }
};
TW_ON_EVERY_ISA(CpuCacheOps);

TEST_P(CpuCacheOps, RoundsDoublesOnce) {
  std::mt19937_64 random(11);
  for (const DType dtype : kFloats) {
    std::vector<double> numbers;
    for (int n = 0; n < 100000; ++n) {
      numbers.push_back(std::bit_cast<double>(static_cast<uint64>(random())));
      // Around ties of every type, with the hint that says on which side, at every magnitude of a
      // float and below.
      const int exponent = static_cast<int>(random() % 300) - 160;
      const int place = std::array{7, 8, 10, 11, 23, 24}[random() % 6];
      const double tie = std::ldexp(1 + std::ldexp(double(random() % 256), -place), exponent);
      const double hint = std::ldexp(1.0, exponent - 20 - static_cast<int>(random() % 30));
      for (const double x : {tie, tie + hint, tie - hint}) numbers.insert(numbers.end(), {x, -x});
    }
    const double infinity = std::numeric_limits<double>::infinity();
    for (const double x : {0.0, 0x1p-1074, 0x1p-150, 0x1.000001p-150, 0x1.8p-133, 65519.99, 65520.0,
                           0x1.fep127, 0x1.ffp127, 0x1.fffffefp127, 0x1.ffffffp127, infinity})
      numbers.insert(numbers.end(), {x, -x});
    numbers.push_back(std::numeric_limits<double>::quiet_NaN());
    numbers.push_back(std::bit_cast<double>(uint64{0x7FF0000000000001}));
    expect_written(dtype, numbers);
  }
}

TEST_P(CpuCacheOps, ConvertsBetweenAllTypes) {
  for (const DType from : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16,
                           DType::kFloat8E4M3, DType::kFloat8E5M2}) {
    for (const DType to : kFloats) {
      for (int64 count = 1; count <= 131; count += count < 20 ? 1 : 37) {
        std::vector<std::byte> input(static_cast<std::size_t>(count * core::bytes_of(from)));
        std::vector<std::byte> output(static_cast<std::size_t>(count * core::bytes_of(to)));
        for (int64 n = 0; n < count; ++n)
          store(from, input.data() + n * core::bytes_of(from), double(n) / 3 - 5);
        isa().of_numbers.cache.convert({input.data(), from}, {output.data(), to}, count);
        for (int64 n = 0; n < count; ++n) {
          std::byte want[8] = {};
          store(to, want, load<double>(from, input.data() + n * core::bytes_of(from)));
          ASSERT_EQ(load<double>(to, output.data() + n * core::bytes_of(to)),
                    load<double>(to, want))
              << name_of(from) << " to " << name_of(to) << ", element " << n << " of " << count;
        }
      }
    }
  }
}

TEST_P(CpuCacheOps, AddsWeighted) {
  for (int64 count = 1; count <= 131; ++count) {
    std::vector<float> part(static_cast<std::size_t>(count));
    std::vector<double> sum(part.size() + 64, 2.0);
    for (std::size_t n = 0; n < part.size(); ++n) part[n] = static_cast<float>(n) - 7;
    isa().of_numbers.cache.add_weighted(
        {reinterpret_cast<std::byte*>(part.data()), DType::kFloat32}, 0.25, count, sum.data());
    for (std::size_t n = 0; n < part.size(); ++n) ASSERT_EQ(sum[n], 2.0 + part[n] / 4.0);
  }
}

// Angles whose products are exact show which element meets which; the conformance tests have the
// others.
TEST_P(CpuCacheOps, RotatesPairsOfEveryHead) {
  constexpr int64 kHeads = 3;
  for (const int64 pairs : {1, 2, 7, 32, 33, 64, 65, 130}) {
    for (const bool interleaved : {false, true}) {
      for (const bool inverse : {false, true}) {
        const int64 dim = 2 * pairs, next = dim + 3;
        const auto row = static_cast<std::size_t>(kHeads * next);
        std::vector<float> from(row), to(row, -99), cosine, sine;
        for (std::size_t n = 0; n < row; ++n) from[n] = static_cast<float>(n % 61) - 30;
        for (int64 c = 0; c < pairs; ++c) {
          cosine.push_back(static_cast<float>(c % 5) / 4);
          sine.push_back(static_cast<float>(c % 7) / 8);
        }
        const auto numbers = [](std::vector<float>& all) {
          return Numbers{reinterpret_cast<std::byte*>(all.data()), DType::kFloat32};
        };
        const auto bytes = next * static_cast<int64>(sizeof(float));
        isa().of_numbers.cache.rotate({numbers(from), numbers(to), bytes, bytes, kHeads,
                                       numbers(cosine), numbers(sine), pairs, interleaved,
                                       inverse});
        std::vector<float> want(row, -99);
        for (int64 h = 0; h < kHeads; ++h) {
          for (int64 c = 0; c < pairs; ++c) {
            const auto at = static_cast<std::size_t>(c);
            const auto first = static_cast<std::size_t>(h * next + (interleaved ? 2 * c : c));
            const auto second = first + static_cast<std::size_t>(interleaved ? 1 : pairs);
            const float along = inverse ? -sine[at] : sine[at];
            want[first] = from[first] * cosine[at] - from[second] * along;
            want[second] = from[first] * along + from[second] * cosine[at];
          }
        }
        ASSERT_EQ(to, want) << pairs << (interleaved ? " interleaved" : " in halves");
      }
    }
  }
}

}  // namespace
}  // namespace tilewise::cpu
