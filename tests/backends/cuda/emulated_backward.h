// The kernels of backward for tensor cores as functions of this processor.
#pragma once

#include <string>

#include "backends/cuda/sm80_backward.h"

namespace tilewise::cuda {

using BackwardFunction = void (*)(const sm80::Backward&);

BackwardFunction emulated_backward(const Sm80Backward& choice);

// By the name that the driver finds it by; null: there is no such kernel.
BackwardFunction emulated_backward(const std::string& name);

}  // namespace tilewise::cuda
