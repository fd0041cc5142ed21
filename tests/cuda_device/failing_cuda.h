// A driver that hands every call to the real one, but for one that it fails. It is a library that
// calls itself libcuda.so.1, so that the next who opens that gets it; TILEWISE_TEST_REAL_CUDA is
// the path of the real one.
#pragma once

#include <atomic>

namespace tilewise::gpu {

struct FailingCuda {
  std::atomic<int> failing_call{-1};  // counted from the next call; -1: none
  std::atomic<int> calls{0};
};

}  // namespace tilewise::gpu

// Of the library.
extern "C" tilewise::gpu::FailingCuda* tilewise_failing_cuda();
