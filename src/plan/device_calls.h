// Devices of a kind as the C face shows them: what there is, and memory there. A backend of another
// device than the processor brings this table.
#pragma once

#include <cstddef>

#include "problem/status.h"

namespace tilewise {

struct DeviceCalls {
  // Of the devices that the process sees; where none of them can be used, the sentence why.
  Status (*count)(int& count);
  // All but the size. Refuses a device that cannot be used.
  Status (*describe)(int index, tw_device_facts& facts);

  Status (*allocate)(int index, std::size_t bytes, void*& memory);
  Status (*release)(int index, void* memory);
  // On the stream; either side may be the host's.
  Status (*copy)(int index, void* to, const void* from, std::size_t bytes, void* stream);
  Status (*synchronize)(int index, void* stream);
};

}  // namespace tilewise
