// A fuzzer's input, decoded from its front; behind its end come zeros, so that any prefix of an
// input is an input.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

namespace tilewise::fuzz {

class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }
  [[nodiscard]] std::span<const std::uint8_t> rest() const { return rest_; }

  template <class T>
  T raw() {
    T value{};
    const std::size_t count = std::min(sizeof value, rest_.size());
    if (count > 0) std::memcpy(&value, rest_.data(), count);
    rest_ = rest_.subspan(count);
    return value;
  }

  std::uint8_t byte() { return raw<std::uint8_t>(); }
  bool flag() { return (byte() & 1) != 0; }
  std::int32_t bit() { return byte() & 1; }

  // A number from low to high, which are at most 255 apart.
  std::int64_t from(std::int64_t low, std::int64_t high) { return low + byte() % (high - low + 1); }

  template <class T>
  T& one_of(std::vector<T>& some) {
    return some[byte() % some.size()];
  }

  template <class T, std::size_t kCount>
  T one_of(const std::array<T, kCount>& some) {
    return some[byte() % kCount];
  }

  // Near `now`, absurd, or anything at all.
  std::int64_t number(std::int64_t now) {
    using Limits = std::numeric_limits<std::int64_t>;
    constexpr std::array<std::int64_t, 16> kOdd{
        0,        1,        2,        -1,       16,       64,       65536,         INT32_MAX,
        1L << 32, 1L << 39, 1L << 40, 1L << 58, 1L << 60, 1L << 62, Limits::min(), Limits::max()};
    switch (byte() % 4) {
      case 0:
        return raw<std::int64_t>();
      case 1:
        return one_of(kOdd);
      case 2:
        return static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(now));
      default:
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(now) +
                                         static_cast<std::uint64_t>(from(-3, 3)));
    }
  }

  double real() {
    using Limits = std::numeric_limits<double>;
    constexpr std::array<double, 10> kOdd{0,
                                          -0.5,
                                          0.25,
                                          1 - 1e-9,
                                          1e300,
                                          Limits::denorm_min(),
                                          Limits::infinity(),
                                          -Limits::infinity(),
                                          Limits::quiet_NaN(),
                                          Limits::max()};
    return flag() ? std::bit_cast<double>(raw<std::uint64_t>()) : one_of(kOdd);
  }

 private:
  std::span<const std::uint8_t> rest_;
};

}  // namespace tilewise::fuzz
