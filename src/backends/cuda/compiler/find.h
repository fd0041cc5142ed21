// A kernel's cubin: from the pack, from the disk cache, or made by NVRTC.
#pragma once

#include <span>

#include "backends/cuda/compiler/sealed.h"
#include "backends/cuda/compiler/surroundings.h"
#include "backends/cuda/compiler/variant.h"
#include "problem/status.h"

namespace tilewise::cuda {

// In this order: a cubin of the pack, the disk cache, NVRTC, PTX of the pack, which the driver then
// compiles. With TILEWISE_DUMP NVRTC alone. Safe in several threads and processes at once. May take
// seconds and allocates, so it belongs to `prepare`.
Status find_cubin(const Variant& variant, const Target& target, const Surroundings& around,
                  Cubin& out);

// Those of several kernels, looked for at the same time. What failed first decides.
Status find_cubins(std::span<const Variant* const> variants, const Target& target,
                   const Surroundings& around, std::span<Cubin> out);

}  // namespace tilewise::cuda
