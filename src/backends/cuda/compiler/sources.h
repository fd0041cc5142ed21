// The text of core and of the GPU's own headers, which the library carries with it.
// cmake/embed.cmake makes the definitions.
#pragma once

#include <span>

namespace tilewise::cuda {

struct Source {
  const char* name;  // as others include it: "core/mask.h"
  const char* text;
};

std::span<const Source> embedded_sources();

// SHA-256 of all names and texts, in hexadecimal digits.
const char* embedded_hash();

// The same of all that a pack's kernels follow from: of that, of the list of variants, of how a
// program is made of one, and of the library's version. A pack carries it, and the build leaves out
// one that was made of other kernels.
const char* packed_hash();

}  // namespace tilewise::cuda
