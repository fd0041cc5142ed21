// The format of a cubin in the pack and the disk cache: sealed by a hash of its content.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/compiler/nvrtc.h"
#include "backends/cuda/compiler/sha256.h"

namespace tilewise::cuda {

enum class From { kPack, kCache, kNvrtc };

// Code that the driver loads.
struct Cubin {
  std::vector<std::byte> bytes;  // PTX ends with a zero byte, which the driver needs
  bool is_ptx = false;           // the driver compiles it while loading
  From from = From::kNvrtc;
  bool is_kept = false;  // was just written to the disk cache
  Resources resources;
  double seconds = 0;  // that NVRTC took to compile it, now or earlier
};

// `key` identifies what the cubin was made from.
std::vector<std::byte> seal(const Cubin& cubin, const Digest& key);

// Returns false for anything but an intact cubin of this key.
bool unseal(std::span<const std::byte> bytes, const Digest& key, Cubin& out);

}  // namespace tilewise::cuda
