// Kernels that are ready on a device: found once, and then at hand without a lock.
#pragma once

#include "backends/cuda/driver/device.h"

namespace tilewise::cuda {

// A kernel by its place among packed_variants(). Null until `load` has been there.
Kernel loaded(const Device& device, int index);

// Finds the cubin, compiles it if need be, and loads it. May take seconds, and is done once.
Status load(Device& device, int index);

}  // namespace tilewise::cuda
