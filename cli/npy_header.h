// The header of a .npy file. A stranger may have written the file, so every size is compared with
// the file's size before it is used, above all before memory is allocated.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace tilewise::cli {

// What is wrong with a header, as the end of a sentence: "its header is no Python dictionary". The
// catcher puts the file's name in front.
class NpyError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct NpyHeader {
  char kind = 0;       // 'f', 'i', 'u', 'b' or 'V', as numpy writes it
  int item_bytes = 0;  // of one element
  bool is_big_endian = false;
  bool is_fortran_order = false;
  std::vector<std::int64_t> shape;
  std::uint64_t data_offset = 0;  // from the start of the file

  [[nodiscard]] std::uint64_t elements() const;
  [[nodiscard]] std::uint64_t data_bytes() const;
  // The type as numpy names it in little-endian order: "<f4", or "|b1" for single bytes.
  [[nodiscard]] std::string type() const;
};

// The longest prelude that is read: magic, version, length and dictionary.
constexpr std::uint64_t kLongestNpyPrelude = 1 << 16;

// Reads the prelude from a file's first bytes, at most kLongestNpyPrelude of them, and checks that
// a file of file_bytes holds exactly the numbers that its header declares. Throws NpyError.
[[nodiscard]] NpyHeader parse_npy_prelude(std::string_view start, std::uint64_t file_bytes);

// Makes the prelude of a C-ordered array; the numbers follow directly.
[[nodiscard]] std::string make_npy_prelude(std::string_view type,
                                           const std::vector<std::int64_t>& shape);

}  // namespace tilewise::cli
