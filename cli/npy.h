// Arrays from .npy files: read whole, turned into C order and this machine's byte order.
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

// Reads a regular file. Throws Failure with a sentence that names the file.
[[nodiscard]] NpyArray read_npy(const std::string& path);

// The array as the library's tensor. Throws Failure if it has no dimensions or more than the
// library allows, or if it is uint16 and not said to be bfloat16.
[[nodiscard]] tw_tensor tensor_of(const NpyArray& array, bool is_uint16_bfloat16);

// The file's type for a tensor of this dtype; bfloat16_type is the one for bfloat16.
[[nodiscard]] std::string npy_type(std::int32_t dtype, const std::string& bfloat16_type);

}  // namespace tilewise::cli
