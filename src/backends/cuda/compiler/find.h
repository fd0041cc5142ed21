// Finds a kernel's cubin in the pack or the disk cache, or compiles it by NVRTC.
#pragma once

#include <span>

#include "backends/cuda/compiler/sealed.h"
#include "backends/cuda/compiler/surroundings.h"
#include "backends/cuda/compiler/variant.h"
#include "problem/status.h"

namespace tilewise::cuda {

// Tries in order: a cubin of the pack; the disk cache and NVRTC (Compilers::walk); PTX of the pack,
// which the driver compiles. With TILEWISE_DUMP only NVRTC. Safe in several threads and processes
// at once. May take seconds and allocate, so it belongs into `prepare`.
Status find_cubin(const Variant& variant, const Target& target, const Surroundings& around,
                  Cubin& out);

// The cubins of several kernels, in parallel. Returns the first failure.
Status find_cubins(std::span<const Variant* const> variants, const Target& target,
                   const Surroundings& around, std::span<Cubin> out);

}  // namespace tilewise::cuda
