// CUDA devices for the C interface: their number, their properties, and memory on them.
#pragma once

#include "plan/device_calls.h"

namespace tilewise::cuda {

extern const DeviceCalls kDeviceCalls;

}  // namespace tilewise::cuda
