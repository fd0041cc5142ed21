#include "cli/npy_header.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "cli/core/joined.h"

namespace tilewise::cli {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::size_t kMostDimensions = 32;
constexpr std::string_view kNotADictionary =
    "its header is not the Python dictionary that numpy.save writes";

// Reads the few forms of Python text that a header may have.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  void skip_space() {
    const std::size_t end = rest_.find_first_not_of(" \t\n\r");
    rest_.remove_prefix(std::min(end, rest_.size()));
  }
  bool accept(std::string_view word) {
    skip_space();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  void expect(std::string_view word) {
    if (!accept(word)) throw NpyError(std::string(kNotADictionary));
  }
  std::string_view quoted() {
    skip_space();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) {
      throw NpyError(std::string(kNotADictionary));
    }
    const std::size_t end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) throw NpyError(std::string(kNotADictionary));
    const std::string_view word = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return word;
  }
  std::int64_t integer() {
    skip_space();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error == std::errc::result_out_of_range) {
      throw NpyError("its shape has an extent of more than 64 bits");
    }
    if (error != std::errc()) throw NpyError("its shape is not a tuple of whole numbers");
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    accept("L");  // how Python 2 ended a long
    return value;
  }
  [[nodiscard]] bool is_quote_next() {
    skip_space();
    return !rest_.empty() && (rest_[0] == '\'' || rest_[0] == '"');
  }
  [[nodiscard]] bool is_done() {
    skip_space();
    return rest_.empty();
  }

 private:
  std::string_view rest_;
};

std::vector<std::int64_t> parse_shape(Scanner& scanner) {
  std::vector<std::int64_t> shape;
  if (!scanner.accept("(")) throw NpyError("its shape is not a tuple of whole numbers");
  while (!scanner.accept(")")) {
    shape.push_back(scanner.integer());
    if (shape.back() < 0) {
      throw NpyError(fmt::format("its shape has a negative extent, {}", shape.back()));
    }
    if (shape.size() > kMostDimensions) {
      throw NpyError(fmt::format("it has more than {} dimensions", kMostDimensions));
    }
    if (!scanner.accept(",")) {
      // "(3)" is a number in Python, not a tuple.
      if (shape.size() == 1) throw NpyError("its shape is not a tuple of whole numbers");
      scanner.expect(")");
      break;
    }
  }
  return shape;
}

void parse_type(Scanner& scanner, NpyHeader& header) {
  if (!scanner.is_quote_next()) {
    throw NpyError("its elements are records of several fields; only plain numbers can be read");
  }
  const std::string_view type = scanner.quoted();
  if (type.find('O') != std::string_view::npos) {
    throw NpyError("it holds Python objects; only plain numbers can be read");
  }
  constexpr std::string_view kTypes[] = {"f2", "f4", "f8", "V2", "u2", "i4", "i8", "b1", "u1"};
  const std::string_view plain = type.substr(type.empty() ? 0 : 1);
  const bool is_ordered = !type.empty() && std::string_view("<>|=").find(type[0]) != type.npos;
  if (!is_ordered || std::find(std::begin(kTypes), std::end(kTypes), plain) == std::end(kTypes)) {
    throw NpyError(
        fmt::format("its elements have the type '{}'; float16, float32, float64, bfloat16 (V2 or "
                    "uint16), bool, int32 and int64 can be read",
                    type));
  }
  header.kind = plain[0];
  header.item_bytes = plain[1] - '0';
  header.is_big_endian = type[0] == '>';
}

void parse_dictionary(std::string_view text, NpyHeader& header) {
  Scanner scanner(text);
  bool has_type = false, has_order = false, has_shape = false;
  const auto once = [](bool& seen, std::string_view name) {
    if (seen) throw NpyError(fmt::format("its header names '{}' twice", name));
    seen = true;
  };
  scanner.expect("{");
  while (!scanner.accept("}")) {
    const std::string_view name = scanner.quoted();
    scanner.expect(":");
    if (name == "descr") {
      once(has_type, name);
      parse_type(scanner, header);
    } else if (name == "fortran_order") {
      once(has_order, name);
      header.is_fortran_order = scanner.accept("True");
      if (!header.is_fortran_order) scanner.expect("False");
    } else if (name == "shape") {
      once(has_shape, name);
      header.shape = parse_shape(scanner);
    } else {
      throw NpyError(fmt::format("its header has an entry '{}' that .npy files do not have", name));
    }
    if (!scanner.accept(",")) {
      scanner.expect("}");
      break;
    }
  }
  if (!scanner.is_done()) throw NpyError(std::string(kNotADictionary));
  if (!has_type || !has_order || !has_shape) {
    throw NpyError("its header lacks one of 'descr', 'fortran_order' and 'shape'");
  }
}

std::optional<std::uint64_t> checked_bytes(const NpyHeader& header) {
  // A size of 0 counts as 1 here, so that it does not hide an overflow of the others.
  std::uint64_t product = static_cast<std::uint64_t>(header.item_bytes);
  for (const std::int64_t extent : header.shape) {
    const auto factor = static_cast<std::uint64_t>(std::max<std::int64_t>(1, extent));
    if (__builtin_mul_overflow(product, factor, &product)) return std::nullopt;
  }
  if (product > INT64_MAX) return std::nullopt;
  return header.data_bytes();
}

struct Prelude {
  std::size_t begin = 0, length = 0;  // of the dictionary
};

Prelude parse_prefix(std::string_view start) {
  if (start.size() < kMagic.size() + 2 || !start.starts_with(kMagic)) {
    throw NpyError("it does not begin as a .npy file does; numpy.save writes such files");
  }
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(start[i]); };
  const int version = byte(6);
  if (version < 1 || version > 3 || byte(7) != 0) {
    throw NpyError(fmt::format("its format has version {}.{}; versions 1.0, 2.0 and 3.0 exist",
                               version, byte(7)));
  }
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  Prelude prelude{8 + length_bytes, 0};
  if (start.size() < prelude.begin) throw NpyError("it ends in the middle of its header");
  for (std::size_t i = length_bytes; i-- > 0;) prelude.length = prelude.length << 8 | byte(8 + i);
  return prelude;
}

}  // namespace

std::uint64_t NpyHeader::elements() const {
  std::uint64_t product = 1;
  for (const std::int64_t extent : shape) product *= static_cast<std::uint64_t>(extent);
  return product;
}

std::uint64_t NpyHeader::data_bytes() const {
  return elements() * static_cast<std::uint64_t>(item_bytes);
}

std::string NpyHeader::type() const {
  return fmt::format("{}{}{}", item_bytes == 1 ? '|' : '<', kind, item_bytes);
}

NpyHeader parse_npy_prelude(std::string_view start, std::uint64_t file_bytes) {
  const Prelude prelude = parse_prefix(start);
  if (prelude.length > kLongestNpyPrelude - prelude.begin) {
    throw NpyError(fmt::format("its header claims {} bytes; at most {} are accepted",
                               prelude.length, kLongestNpyPrelude - prelude.begin));
  }
  if (prelude.begin + prelude.length > start.size()) {
    throw NpyError(fmt::format("its header claims {} bytes, but the file ends after {}",
                               prelude.length, start.size() - prelude.begin));
  }
  const std::string_view text = start.substr(prelude.begin, prelude.length);
  if (std::any_of(text.begin(), text.end(), [](char c) { return c < '\t' || c > '~'; })) {
    throw NpyError("its header holds bytes that are not ASCII text");
  }
  NpyHeader header;
  parse_dictionary(text, header);
  header.data_offset = prelude.begin + prelude.length;
  const auto bytes = checked_bytes(header);
  if (!bytes) throw NpyError("its shape has more bytes than 64 bits can count");
  if (*bytes != file_bytes - header.data_offset) {
    throw NpyError(fmt::format("its shape ({}) of {} needs {} bytes, but {} follow the header",
                               joined(header.shape, ", "), header.type(), *bytes,
                               file_bytes - header.data_offset));
  }
  return header;
}

std::string make_npy_prelude(std::string_view type, const std::vector<std::int64_t>& shape) {
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}",
                                 type, joined(shape, ", "), shape.size() == 1 ? "," : "");
  // Numbers begin at a multiple of 64 bytes, so that a mapped file is aligned.
  constexpr std::size_t kPrefix = 10;
  text.append(63 - (kPrefix + text.size()) % 64, ' ');
  text.push_back('\n');
  std::string prelude(kMagic);
  prelude += '\x01';
  prelude += '\x00';
  prelude += static_cast<char>(text.size() & 0xff);
  prelude += static_cast<char>(text.size() >> 8);
  return prelude + text;
}

}  // namespace tilewise::cli
