// Files in the format of NumPy. Whatever their bytes are, reading them gives the numbers that the
// header declares, or a Failure with a sentence. An input whose first byte is odd is a dictionary,
// up to the end of its line, and the numbers behind it; any other is the file itself.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "cli/core/failure.h"
#include "cli/npy.h"
#include "fuzz/answer.h"

namespace tilewise::fuzz {
namespace {

std::string with_prefix(const std::string& input) {
  const std::size_t line = std::min(input.find('\n'), input.size());
  std::string file = std::string("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(line & 0xff);
  file += static_cast<char>(line >> 8 & 0xff);
  return file + input.substr(0, line) + input.substr(std::min(line + 1, input.size()));
}

// A file without a name: read_npy takes a path, and this one is never on a disk.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& bytes) : descriptor_(memfd_create("npy", MFD_CLOEXEC)) {
    if (write(descriptor_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      wrong("a file in memory cannot be written");
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { close(descriptor_); }

  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

// Where the file has element `n` of the array in C order.
std::uint64_t place_in_file(const cli::NpyHeader& header, std::uint64_t n) {
  if (!header.is_fortran_order) return n;
  std::uint64_t place = 0, stride = header.elements();
  for (std::size_t axis = header.shape.size(); axis-- > 0;) {
    const auto extent = static_cast<std::uint64_t>(header.shape[axis]);
    stride /= extent;
    place += n % extent * stride;
    n /= extent;
  }
  return place;
}

void expect_numbers(const std::string& file, const cli::NpyHeader& header,
                    const cli::NpyArray& array) {
  const auto bytes = static_cast<std::size_t>(header.item_bytes);
  for (std::uint64_t n = 0; n < header.elements(); ++n) {
    std::string item = file.substr(header.data_offset + place_in_file(header, n) * bytes, bytes);
    if (header.is_big_endian) std::reverse(item.begin(), item.end());
    if (std::memcmp(item.data(), array.data.get() + n * bytes, bytes) != 0)
      wrong("element %llu is not the file's", static_cast<unsigned long long>(n));
  }
}

// What is written again reads the same.
void expect_round_trip(const cli::NpyHeader& header) {
  const std::string prelude = cli::make_npy_prelude(header.type(), header.shape);
  const cli::NpyHeader again =
      cli::parse_npy_prelude(prelude, prelude.size() + header.data_bytes());
  if (again.shape != header.shape || again.type() != header.type() || again.is_big_endian)
    wrong("a header became another when it was written");
}

void expect_sentence(const char* sentence) {
  if (*sentence == '\0') wrong("refused without a sentence");
}

// The header of a file that is accepted.
std::optional<cli::NpyHeader> header_of(const std::string& file) {
  const std::string_view start(file);
  try {
    return cli::parse_npy_prelude(start.substr(0, cli::kLongestNpyPrelude), file.size());
  } catch (const cli::NpyError& error) {
    expect_sentence(error.what());
    return std::nullopt;
  }
}

void expect_tensor(const cli::NpyArray& array, bool is_bfloat16) {
  try {
    const tw_tensor tensor = cli::tensor_of(array, is_bfloat16);
    if (static_cast<std::uint64_t>(tensor.byte_size) != array.header.data_bytes())
      wrong("a tensor has %lld bytes", static_cast<long long>(tensor.byte_size));
  } catch (const cli::Failure& failure) {
    expect_sentence(failure.what());
  }
}

void read(const std::string& file) {
  const auto header = header_of(file);
  if (header) expect_round_trip(*header);
  const MemoryFile on_disk(file);
  try {
    const cli::NpyArray array = cli::read_npy(on_disk.path());
    if (!header) wrong("a file was read whose header is refused");
    expect_numbers(file, *header, array);
    expect_tensor(array, false);
    expect_tensor(array, true);
  } catch (const cli::Failure& failure) {
    if (header) wrong("a file was not read whose header is accepted: %s", failure.what());
    expect_sentence(failure.what());
  }
}

}  // namespace
}  // namespace tilewise::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string input(reinterpret_cast<const char*>(data) + 1, size - 1);
  tilewise::fuzz::read(data[0] % 2 == 1 ? tilewise::fuzz::with_prefix(input) : input);
  return 0;
}
