// Makes a variant into the text and options for NVRTC, and into the key under which the result is
// found again.
#pragma once

#include <string>

#include "backends/cuda/compiler/nvrtc.h"
#include "backends/cuda/compiler/sha256.h"
#include "backends/cuda/compiler/variant.h"

namespace tilewise::cuda {

// The driver can compile PTX for every GPU that is not older than the target.
enum class Form { kCubin, kPtx };

Program program_of(const Variant& variant, const Target& target, Form form = Form::kCubin);

// "sm_90", "sm_90a", "compute_80".
std::string architecture(const Target& target, Form form);

// A hash of all inputs except the compiler: all headers of the library, the text, the options and
// the library's version. The pack uses this key.
Digest key_of(const Program& program);

// The disk cache's key: key_of(program) and the compiler. The cache's file names contain both.
struct CacheKey {
  Digest program{};
  int nvrtc_version = 0;
  long long nvrtc_bytes = 0;  // distinguishes releases of the same version

  bool operator==(const CacheKey&) const = default;

  // A hash of the program's key, NVRTC's version and NVRTC's size.
  Digest digest() const;
};
CacheKey cache_key_of(const Program& program, const NvrtcFile& nvrtc);

}  // namespace tilewise::cuda
