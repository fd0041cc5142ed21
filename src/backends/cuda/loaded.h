// Kernels that are loaded on a device. After loading, they are found without a lock.
#pragma once

#include <span>

#include "backends/cuda/driver/device.h"
#include "problem/text.h"

namespace tilewise::cuda {

// The kernel of an index of kernel_choice.h. Null until `load` has loaded it.
Kernel loaded(const Device& device, int index);

// Loads the kernels that are not loaded yet, after finding or compiling their cubins in parallel.
// May take seconds, once.
Status load(Device& device, std::span<const int> indices);

// Whether a featured kernel is available: loaded, in the cache, or an NVRTC would compile it. The
// first check of a kernel on a device may take milliseconds; its result is kept.
bool can_have(const Device* device, int index);

// Marks a kernel as not available, after it failed to compile or load.
void give_up(const Device& device, int index);

// Where the kernels that are not loaded would come from, in words.
void describe_origin(const Device& device, std::span<const int> indices, Text& note);

}  // namespace tilewise::cuda
