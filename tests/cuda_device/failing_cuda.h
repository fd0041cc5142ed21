// A driver that hands every call but one to the real one, and fails that one. It is a library named
// libcuda.so.1, so that whoever opens that name next gets it; TILEWISE_TEST_REAL_CUDA is the path
// of the real one.
#pragma once

#include <atomic>

namespace tilewise::gpu {

struct FailingCuda {
  std::atomic<int> failing_call{-1};  // counted from the next call; -1: none
  std::atomic<int> calls{0};
};

}  // namespace tilewise::gpu

// Exported by that library: the state of its driver.
extern "C" tilewise::gpu::FailingCuda* tilewise_failing_cuda();
