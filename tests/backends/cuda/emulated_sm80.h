// The kernels for tensor cores as functions of this processor, for the tests' two ways of playing a
// GPU.
#pragma once

#include <cstddef>
#include <string>

#include "backends/cuda/kernels/sm80/launch.h"

namespace tilewise::cuda {

using Sm80Function = void (*)(const sm80::Forward&);

// The kernel of row `number` of kTable. Those with features compiled in, of which there are
// hundreds, are played by one that tests for each feature when it runs.
Sm80Function emulated_forward(bool is_bfloat16, int number);

// The shared memory of one of its blocks.
std::size_t emulated_forward_bytes(int number);

// The kernel of this name, or null if there is none. `bytes` gets the shared memory that a block
// needs at least; 0 if what the launch says is enough.
Sm80Function emulated_sm80(const std::string& name, std::size_t& bytes);

}  // namespace tilewise::cuda
