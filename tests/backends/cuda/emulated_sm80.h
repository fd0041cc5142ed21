// The kernels for tensor cores as functions of this processor, for the tests' two ways of playing a
// GPU.
#pragma once

#include <cstddef>
#include <string>

#include "backends/cuda/kernels/sm80/launch.h"

namespace tilewise::cuda {

using Sm80Function = void (*)(const sm80::Forward&);

// Of the row `number` of the table. One with features compiled in is played by one that asks for
// each when it runs: else there would be hundreds.
Sm80Function emulated_forward(bool is_bfloat16, int number);

// What a block of it has in shared memory.
std::size_t emulated_forward_bytes(int number);

// By the name that the driver finds it by; null: there is no such kernel. `bytes` gets what a block
// of it needs at least, or 0: what the launch says.
Sm80Function emulated_sm80(const std::string& name, std::size_t& bytes);

}  // namespace tilewise::cuda
