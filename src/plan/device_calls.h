// The C face's device functions for one kind of device: which devices there are, and their memory.
// Those of the processor are in api/device.cpp; those of another kind come with a backend.
#pragma once

#include <cstddef>

#include "problem/status.h"

namespace tilewise {

struct DeviceCalls {
  // Counts the devices that the process sees. If none of them can be used, returns why.
  Status (*count)(int& count);
  // Fills all facts but `size`. Refuses a device that cannot be used.
  Status (*describe)(int index, tw_device_facts& facts);

  Status (*allocate)(int index, std::size_t bytes, void*& memory);
  Status (*release)(int index, void* memory);
  // Copies on the stream; `to` and `from` may each be host memory.
  Status (*copy)(int index, void* to, const void* from, std::size_t bytes, void* stream);
  Status (*synchronize)(int index, void* stream);
};

}  // namespace tilewise
