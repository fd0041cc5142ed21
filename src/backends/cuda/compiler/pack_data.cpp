// The bytes of the pack in the library. TILEWISE_PACK_FILE is the path that CMake found.
#include "backends/cuda/compiler/pack.h"

#if defined(TILEWISE_PACK_FILE)
__asm__(
    ".pushsection .rodata\n"
    ".hidden tilewise_pack_begin\n"
    ".global tilewise_pack_begin\n"
    ".hidden tilewise_pack_end\n"
    ".global tilewise_pack_end\n"
    ".balign 64\n"
    "tilewise_pack_begin:\n"
    ".incbin \"" TILEWISE_PACK_FILE
    "\"\n"
    "tilewise_pack_end:\n"
    ".popsection\n");

extern "C" {
__attribute__((visibility("hidden"))) extern const std::byte tilewise_pack_begin[];
__attribute__((visibility("hidden"))) extern const std::byte tilewise_pack_end[];
}
#endif

namespace tilewise::cuda {

std::span<const std::byte> built_in_pack() {
#if defined(TILEWISE_PACK_FILE)
  return {tilewise_pack_begin, tilewise_pack_end};
#else
  return {};
#endif
}

}  // namespace tilewise::cuda
