// A kernel's cubin: from the pack, from the disk cache, or made by NVRTC.
#pragma once

#include "backends/cuda/compiler/sealed.h"
#include "backends/cuda/compiler/surroundings.h"
#include "backends/cuda/compiler/variant.h"
#include "problem/status.h"

namespace tilewise::cuda {

// In this order: a cubin of the pack, the disk cache, NVRTC, PTX of the pack, which the driver then
// compiles. With TILEWISE_DUMP NVRTC alone. Safe in several threads and processes at once. May take
// seconds and allocates, so it belongs to `prepare`.
Status find_cubin(const Variant& variant, const Target& target, Cubin& out);
Status find_cubin(const Variant& variant, const Target& target, const Surroundings& around,
                  Cubin& out);

// Which NVRTC would be used, as "12.8 (/path/libnvrtc.so.12)", for explain.
Status describe_nvrtc(const Surroundings& around, int driver_version, std::string& text);

}  // namespace tilewise::cuda
