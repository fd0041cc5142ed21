// Arrays in .npy files: read whole, in C order and this machine's byte order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "cli/npy_header.h"
#include "tilewise/tilewise.h"

namespace tilewise::cli {

struct NpyArray {
  std::string path;
  NpyHeader header;
  std::unique_ptr<std::byte[]> data;
};

// Throws Failure with a sentence that names the file. Only regular files are read.
[[nodiscard]] NpyArray read_npy(const std::string& path);

// What the library sees; uint16 counts as bfloat16 where that is said. Throws Failure for more
// dimensions than the library knows, none at all, or uint16 where nothing is said.
[[nodiscard]] tw_tensor tensor_of(const NpyArray& array, bool is_uint16_bfloat16);

// The type a tensor of this dtype has in a file; bfloat16_type says how bfloat16 is written.
[[nodiscard]] std::string npy_type(std::int32_t dtype, const std::string& bfloat16_type);

}  // namespace tilewise::cli
