// The text of core and of the GPU's headers, which is embedded in the library. cmake/embed.cmake
// generates the definitions.
#pragma once

#include <span>

namespace tilewise::cuda {

struct Source {
  const char* name;  // as #include names it: "core/mask.h"
  const char* text;
};

std::span<const Source> embedded_sources();

// The SHA-256 of all names and texts, in hexadecimal.
const char* embedded_hash();

// The SHA-256 of everything that determines a pack: the embedded text, the list of variants, the
// code that makes a program of a variant, and the library's version. A pack contains this hash, so
// that the build can leave out a pack of other kernels.
const char* packed_hash();

}  // namespace tilewise::cuda
