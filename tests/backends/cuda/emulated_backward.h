// The kernels of backward for tensor cores as functions of this processor.
#pragma once

#include <cstddef>
#include <string>

#include "backends/cuda/sm80_backward.h"

namespace tilewise::cuda {

using BackwardFunction = void (*)(const sm80::Backward&);

// One with features compiled in is played by one that asks for each when it runs.
BackwardFunction emulated_backward(const Sm80Backward& choice);

// What a block of the tiles of a row has in shared memory.
std::size_t emulated_backward_bytes(int number);

// By the name that the driver finds it by; null: there is no such kernel. `bytes` gets what a block
// of it needs at least, or 0: what the launch says.
BackwardFunction emulated_backward(const std::string& name, std::size_t& bytes);

}  // namespace tilewise::cuda
