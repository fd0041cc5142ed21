// The kernels of backward for tensor cores as functions of this processor.
#pragma once

#include <cstddef>
#include <string>

#include "backends/cuda/sm80_backward.h"

namespace tilewise::cuda {

using BackwardFunction = void (*)(const sm80::Backward&);

// A kernel with features compiled in is played by one that tests for each feature when it runs.
BackwardFunction emulated_backward(const Sm80Backward& choice);

// The shared memory of a block of the kernel of tiles, for a shape of kBackwardShapes.
std::size_t emulated_backward_bytes(int number);

// The kernel of this name, or null if there is none. `bytes` gets the shared memory that a block
// needs at least; 0 if what the launch says is enough.
BackwardFunction emulated_backward(const std::string& name, std::size_t& bytes);

}  // namespace tilewise::cuda
