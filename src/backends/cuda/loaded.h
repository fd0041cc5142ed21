// Kernels that are ready on a device: found once, and then at hand without a lock.
#pragma once

#include "backends/cuda/driver/device.h"
#include "backends/cuda/plain_kernels.h"

namespace tilewise::cuda {

// Null until `load` has been there.
Kernel loaded(const Device& device, const PlainChoice& choice);

// Finds the cubin, compiles it if need be, and loads it. May take seconds, and is done once.
Status load(Device& device, const PlainChoice& choice);

}  // namespace tilewise::cuda
