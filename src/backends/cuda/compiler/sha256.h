// SHA-256 (FIPS 180-4). The driver loads a damaged cubin without an error, so a cubin of the disk
// cache or the pack is checked against its hash. Cubins are found by a hash of what they were made
// from.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tilewise::cuda {

using Digest = std::array<std::uint8_t, 32>;

class Sha256 {
 public:
  Sha256& add(const void* data, std::size_t bytes);

  // Hashes the length first, so that "ab", "c" and "a", "bc" differ.
  Sha256& add_text(std::string_view text);

  Digest digest();

 private:
  void take_block(const std::uint8_t* block);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> waiting_{};
  std::uint64_t bytes_ = 0;
};

std::string hexadecimal(const Digest& digest);

}  // namespace tilewise::cuda
