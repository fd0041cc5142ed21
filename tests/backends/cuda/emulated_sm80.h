// The kernels for tensor cores as functions of this processor, for the tests' two ways of playing a
// GPU.
#pragma once

#include <string>

#include "backends/cuda/kernels/sm80/launch.h"

namespace tilewise::cuda {

using Sm80Function = void (*)(const sm80::Forward&);

// Of the row `number` of the table.
Sm80Function emulated_forward(bool is_bfloat16, int number);

// By the name that the driver finds it by; null: there is no such kernel.
Sm80Function emulated_sm80(const std::string& name);

}  // namespace tilewise::cuda
