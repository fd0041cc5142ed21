// A cubin as it lies in the pack and in the disk cache: sealed by a hash of all that is in it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/compiler/nvrtc.h"
#include "backends/cuda/compiler/sha256.h"

namespace tilewise::cuda {

enum class From { kPack, kCache, kNvrtc };

// What the driver loads.
struct Cubin {
  std::vector<std::byte> bytes;  // PTX ends with a zero, as the driver wants it
  bool is_ptx = false;           // the driver compiles it when it loads it
  From from = From::kNvrtc;
  bool is_kept = false;  // by the disk cache, just now
  Resources resources;
  double seconds = 0;  // that NVRTC took, whenever that was
};

// `key` says what the cubin was made from.
std::vector<std::byte> seal(const Cubin& cubin, const Digest& key);

// False for whatever is not a whole, unchanged cubin of this key.
bool unseal(std::span<const std::byte> bytes, const Digest& key, Cubin& out);

}  // namespace tilewise::cuda
