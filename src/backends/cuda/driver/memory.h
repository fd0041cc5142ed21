// CUDA devices as the C face shows them: how many there are, what they are, and memory there.
#pragma once

#include "plan/device_calls.h"

namespace tilewise::cuda {

extern const DeviceCalls kDeviceCalls;

}  // namespace tilewise::cuda
