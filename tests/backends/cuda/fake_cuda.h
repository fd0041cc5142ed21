// What tests tell the driver of tests/backends/cuda/fake_cuda.cpp, and what it saw. That driver is
// a library named libcuda.so.1, so that whoever opens that name next gets it.
#pragma once

#include <cstdint>
#include <string>

namespace tilewise::cuda {

struct FakeCuda {
  // To be set before the driver is opened.
  int version = 13000;            // of the driver
  int start_result = 0;           // of cuInit
  int version_result = 0;         // of cuDriverGetVersion
  const char* missing = nullptr;  // a name that the driver does not have
  int devices = 2;
  int major = 9, minor = 0;
  int all_shared_bytes = 100 << 10;  // of a multiprocessor
  int resolve_result = 0;            // of cuGetProcAddress
  // At any time: the call that fails, counted from the next one, and by what. -1: none.
  int failing_call = -1;
  int failure = 2;
  bool captures = false;      // every stream
  bool refuses_push = false;  // of a context
  int register_result = 0;    // of cuMemHostRegister
  int retain_result = 0;      // of cuDevicePrimaryCtxRetain
  // Called once in the middle of the next cuCtxGetId.
  void (*on_context_id)(FakeCuda&) = nullptr;
  int poison = 0;  // what a kernel that failed has left: every later use of a stream gets it
  // Memory other than pinned host memory. `kind` is a CUmemorytype.
  struct Range {
    const void *begin = nullptr, *end = nullptr;
    int kind = 0, device = -2, managed = 0;
  };
  Range memory[4];

  // What was seen.
  int oldest_asked = 1 << 30, newest_asked = 0;  // versions asked of cuGetProcAddress
  int calls = 0, launches = 0, loads = 0, unloads = 0, registrations = 0, opened = 0;
  int allocations = 0, frees = 0;
  int retained = 0;              // times that primary contexts are
  int relaxed = 0;               // of these two and of waits, while the capture mode was relaxed
  int shared_bytes = 0;          // of cuKernelSetAttribute
  int loaded_relaxed = 0;        // loads while the capture mode was relaxed
  int capture_mode = 0;          // now, of the calling thread
  int depth = 0;                 // contexts on the calling thread's stack
  unsigned long long reset = 0;  // how often devices were reset
  unsigned grid[3] = {}, threads = 0;
  std::uint64_t arguments[2] = {};  // the first two of the last launch, 8 bytes each
  bool asked_stream_zero = false;
  int pushes = 0;                                   // of contexts
  const void* pushed = nullptr;                     // the last of these
  int waits = 0;                                    // of cuStreamSynchronize
  const void *stream = nullptr, *waited = nullptr;  // of the last launch, of the last wait
  std::uint32_t* page = nullptr;                    // that was registered last
  void* allocated = nullptr;                        // last
  // Names of kernels, by their handles; and of the launches, one after another.
  static constexpr int kMostNames = 32, kMostLaunches = 64;
  char names[kMostNames][64] = {};
  int launched[kMostLaunches] = {};
  void* copied_on = nullptr;  // the stream
  void* current = nullptr;    // the context that the caller has
};

// Names of the kernels that were launched from number `first` on, without what all begin with.
inline std::string launched_names(const FakeCuda& fake, int first) {
  std::string all;
  for (int n = first; n < fake.launches && n < FakeCuda::kMostLaunches; ++n) {
    const std::string name = fake.names[fake.launched[n]];
    const std::string begin = "tilewise_plain_";
    all +=
        (all.empty() ? "" : " ") + (name.rfind(begin, 0) == 0 ? name.substr(begin.size()) : name);
  }
  return all;
}

}  // namespace tilewise::cuda

// Exported by that library: the state of its fake driver.
extern "C" tilewise::cuda::FakeCuda* tilewise_fake_cuda();
