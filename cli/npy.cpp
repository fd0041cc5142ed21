#include "cli/npy.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "cli/core/call.h"
#include "cli/core/failure.h"
#include "cli/core/machine.h"
#include "cli/core/terminal.h"

namespace tilewise::cli {
namespace {

class File {
 public:
  // O_NONBLOCK: otherwise open() would wait for ever on a pipe that nobody writes to.
  explicit File(const std::string& path)
      : path_(path), descriptor_(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
    if (descriptor_ < 0) fail(std::strerror(errno));
    struct stat status = {};
    if (fstat(descriptor_, &status) != 0) fail_and_close(std::strerror(errno));
    if (S_ISDIR(status.st_mode)) fail_and_close("it is a directory, not a .npy file");
    if (!S_ISREG(status.st_mode)) fail_and_close("it is not a regular file");
    bytes_ = static_cast<std::uint64_t>(status.st_size);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { close(descriptor_); }

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  void read_at(std::uint64_t offset, void* memory, std::uint64_t count) const {
    auto* target = static_cast<char*>(memory);
    while (count > 0) {
      const ssize_t got = pread(descriptor_, target, count, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail(std::strerror(errno));
      if (got == 0) fail("it became shorter while it was read");
      target += got;
      offset += static_cast<std::uint64_t>(got);
      count -= static_cast<std::uint64_t>(got);
    }
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw Failure(kUsage, fmt::format("cannot read {}: {}", path_, why));
  }

 private:
  [[noreturn]] void fail_and_close(const std::string& why) const {
    close(descriptor_);
    fail(why);
  }

  std::string path_;
  int descriptor_;
  std::uint64_t bytes_ = 0;
};

void swap_bytes(NpyArray& array) {
  const auto size = static_cast<std::size_t>(array.header.item_bytes);
  const std::size_t bytes = array.header.data_bytes();
  for (std::size_t at = 0; at < bytes; at += size) {
    std::reverse(array.data.get() + at, array.data.get() + at + size);
  }
  array.header.is_big_endian = false;
}

// Turns Fortran order (first index fastest) into C order (last index fastest), which the library
// takes.
void reorder(NpyArray& array) {
  const NpyHeader& header = array.header;
  const auto size = static_cast<std::size_t>(header.item_bytes);
  auto ordered = std::make_unique_for_overwrite<std::byte[]>(header.data_bytes());
  std::vector<std::int64_t> index(header.shape.size(), 0);
  for (std::uint64_t element = 0; element < header.elements(); ++element) {
    std::uint64_t source = 0;
    for (std::size_t axis = index.size(); axis-- > 0;) {
      source = source * static_cast<std::uint64_t>(header.shape[axis]) +
               static_cast<std::uint64_t>(index[axis]);
    }
    std::memcpy(ordered.get() + element * size, array.data.get() + source * size, size);
    for (std::size_t axis = index.size(); axis-- > 0 && ++index[axis] == header.shape[axis];) {
      index[axis] = 0;
    }
  }
  array.data = std::move(ordered);
  array.header.is_fortran_order = false;
}

std::int32_t dtype_of(const NpyArray& array, bool is_uint16_bfloat16) {
  const std::string type = array.header.type();
  if (type == "<f4") return TW_FLOAT32;
  if (type == "<f8") return TW_FLOAT64;
  if (type == "<f2") return TW_FLOAT16;
  if (type == "<V2") return TW_BFLOAT16;
  if (type == "|b1" || type == "|u1") return TW_BOOL;
  if (type == "<i4") return TW_INT32;
  if (type == "<i8") return TW_INT64;
  if (is_uint16_bfloat16) return TW_BFLOAT16;
  throw Failure(kUsage, fmt::format("{} holds uint16; if these are the bits of bfloat16 numbers, "
                                    "say so with --bfloat16",
                                    array.path));
}

}  // namespace

NpyArray read_npy(const std::string& path) {
  const File file(path);
  std::string start(std::min(file.bytes(), kLongestNpyPrelude), '\0');
  file.read_at(0, start.data(), start.size());
  NpyArray array{path, {}, nullptr};
  try {
    array.header = parse_npy_prelude(start, file.bytes());
  } catch (const NpyError& error) {
    file.fail(error.what());
  }
  const std::uint64_t count = array.header.data_bytes();
  // A sparse file may claim more than the memory there is, and the system might even grant it.
  if (const double memory = this_machine().memory_bytes; static_cast<double>(count) > memory) {
    file.fail(fmt::format("its numbers take {}, but this machine has {} of memory",
                          bytes(static_cast<double>(count)), bytes(memory)));
  }
  array.data = std::make_unique_for_overwrite<std::byte[]>(count);
  file.read_at(array.header.data_offset, array.data.get(), count);
  if (array.header.is_big_endian) swap_bytes(array);
  if (array.header.is_fortran_order) reorder(array);
  return array;
}

tw_tensor tensor_of(const NpyArray& array, bool is_uint16_bfloat16) {
  const std::size_t rank = array.header.shape.size();
  if (rank < 1 || rank > 4) {
    throw Failure(kUsage, fmt::format("{} has {} dimensions; tensors have between 1 and 4",
                                      array.path, rank));
  }
  return dense_tensor(dtype_of(array, is_uint16_bfloat16), array.header.shape, array.data.get());
}

std::string npy_type(std::int32_t dtype, const std::string& bfloat16_type) {
  switch (dtype) {
    case TW_FLOAT32:
      return "<f4";
    case TW_FLOAT64:
      return "<f8";
    case TW_FLOAT16:
      return "<f2";
    case TW_BFLOAT16:
      return bfloat16_type;
    default:
      throw Failure(kUnsupported, fmt::format("results of type {} cannot be written to .npy files",
                                              tw_dtype_name(dtype)));
  }
}

}  // namespace tilewise::cli
