// What tests tell the driver of tests/backends/cuda/fake_cuda.cpp, and what it saw. It is a library
// that calls itself libcuda.so.1, so that the next who opens that gets it.
#pragma once

#include <cstdint>

namespace tilewise::cuda {

struct FakeCuda {
  // To be set before the driver is opened.
  int version = 13000;            // of the driver
  int start_result = 0;           // of cuInit
  int version_result = 0;         // of cuDriverGetVersion
  const char* missing = nullptr;  // a name that the driver does not have
  int devices = 2;
  int major = 9, minor = 0;
  // At any time: the call that fails, counted from the next one, and by what. -1: none.
  int failing_call = -1;
  int failure = 2;
  bool captures = false;  // every stream

  // What was seen.
  int oldest_asked = 1 << 30, newest_asked = 0;  // versions asked of cuGetProcAddress
  int calls = 0, launches = 0, loads = 0, unloads = 0, registrations = 0, opened = 0;
  int allocations = 0, frees = 0;
  int shared_bytes = 0;          // of cuKernelSetAttribute
  int loaded_relaxed = 0;        // loads while the capture mode was relaxed
  int capture_mode = 0;          // now, of the calling thread
  int depth = 0;                 // contexts on the calling thread's stack
  unsigned long long reset = 0;  // how often devices were reset
  unsigned grid[3] = {}, threads = 0;
  std::uint64_t arguments[2] = {};  // the first two of the last launch, 8 bytes each
  bool asked_stream_zero = false;
  void *copied_on = nullptr, *waited_for = nullptr;  // streams
};

}  // namespace tilewise::cuda

// Of the library.
extern "C" tilewise::cuda::FakeCuda* tilewise_fake_cuda();
