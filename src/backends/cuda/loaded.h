// Kernels that are ready on a device: found once, and then at hand without a lock.
#pragma once

#include <span>

#include "backends/cuda/driver/device.h"
#include "problem/text.h"

namespace tilewise::cuda {

// A kernel by its index, see kernel_choice.h. Null until `load` has been there.
Kernel loaded(const Device& device, int index);

// Finds the cubins of those that are not loaded, compiles them if need be, at the same time, and
// loads them. May take seconds, and is done once.
Status load(Device& device, std::span<const int> indices);

// Whether a kernel with features compiled in can be had: it is loaded, kept, or there is an NVRTC
// that would compile it. Looked after once for each, which may take milliseconds.
bool can_have(const Device* device, int index);

// It could not be had after all.
void give_up(const Device& device, int index);

// Where those that are not loaded would come from, in words.
void describe_origin(const Device& device, std::span<const int> indices, Text& note);

}  // namespace tilewise::cuda
