// From a variant to the text and the options that NVRTC gets, and to the key under which the result
// is found again.
#pragma once

#include <string>

#include "backends/cuda/compiler/nvrtc.h"
#include "backends/cuda/compiler/sha256.h"
#include "backends/cuda/compiler/variant.h"

namespace tilewise::cuda {

// PTX can be compiled by the driver for every GPU that is not older than the target.
enum class Form { kCubin, kPtx };

Program program_of(const Variant& variant, const Target& target, Form form = Form::kCubin);

// "sm_90", "sm_90a", "compute_80".
std::string architecture(const Target& target, Form form);

// A hash of every input but the compiler: all headers of the library, the text, the options and the
// library's version. It is the key of the pack.
Digest key_of(const Program& program);

// The same with the compiler, apart: the key of the disk cache, whose file names say both.
struct CacheKey {
  Digest program{};
  int nvrtc_version = 0;
  long long nvrtc_bytes = 0;  // tells two releases of one version apart

  bool operator==(const CacheKey&) const = default;

  // Of all three.
  Digest digest() const;
};
CacheKey cache_key_of(const Program& program, const NvrtcFile& nvrtc);

}  // namespace tilewise::cuda
