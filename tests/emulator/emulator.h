// Runs a kernel's own text on the processor: block by block, each thread a fiber. It says what a
// GPU would not: which threads miss a barrier.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace tilewise::emulator {

struct Launch {
  std::int64_t blocks = 1;
  std::int32_t threads = 32;  // a multiple of 32
  std::size_t shared_bytes = 0;
  std::int32_t architecture = 90;
};

// A rule of the device that the kernel broke.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Calls `kernel` once for each thread of each block. Shared memory holds NaNs at first. Warps of
// every other block run in the opposite order. Several threads of the processor may each run a
// kernel. `kernel` throws nothing.
void run(const Launch& launch, const std::function<void()>& kernel);

}  // namespace tilewise::emulator
