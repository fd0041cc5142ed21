// A real GPU as these tests use it, beside the library: memory, streams, graphs and three kernels
// of their own, by the driver's own functions.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace tilewise::gpu {

using Result = int;
using Address = std::uint64_t;
using Handle = void*;  // of a context, stream, module, function, graph

inline constexpr Result kNotReady = 600;

// (member, exported name, parameters)
#define TW_GPU_CALLS(CALL)                                                                    \
  CALL(start, "cuInit", (unsigned))                                                           \
  CALL(device_count, "cuDeviceGetCount", (int*))                                              \
  CALL(attribute, "cuDeviceGetAttribute", (int*, int, int))                                   \
  CALL(retain, "cuDevicePrimaryCtxRetain", (Handle*, int))                                    \
  CALL(reset, "cuDevicePrimaryCtxReset_v2", (int))                                            \
  CALL(create_context, "cuCtxCreate_v2", (Handle*, unsigned, int))                            \
  CALL(destroy_context, "cuCtxDestroy_v2", (Handle))                                          \
  CALL(make_current, "cuCtxSetCurrent", (Handle))                                             \
  CALL(current, "cuCtxGetCurrent", (Handle*))                                                 \
  CALL(wait_for_all, "cuCtxSynchronize", ())                                                  \
  CALL(allocate, "cuMemAlloc_v2", (Address*, std::size_t))                                    \
  CALL(release, "cuMemFree_v2", (Address))                                                    \
  CALL(memory_info, "cuMemGetInfo_v2", (std::size_t*, std::size_t*))                          \
  CALL(to_device, "cuMemcpyHtoD_v2", (Address, const void*, std::size_t))                     \
  CALL(to_host, "cuMemcpyDtoH_v2", (void*, Address, std::size_t))                             \
  CALL(copy_later, "cuMemcpyDtoDAsync_v2", (Address, Address, std::size_t, Handle))           \
  CALL(allocate_host, "cuMemHostAlloc", (void**, std::size_t, unsigned))                      \
  CALL(release_host, "cuMemFreeHost", (void*))                                                \
  CALL(create_stream, "cuStreamCreate", (Handle*, unsigned))                                  \
  CALL(destroy_stream, "cuStreamDestroy_v2", (Handle))                                        \
  CALL(wait, "cuStreamSynchronize", (Handle))                                                 \
  CALL(query, "cuStreamQuery", (Handle))                                                      \
  CALL(begin_capture, "cuStreamBeginCapture_v2", (Handle, int))                               \
  CALL(end_capture, "cuStreamEndCapture", (Handle, Handle*))                                  \
  CALL(instantiate, "cuGraphInstantiateWithFlags", (Handle*, Handle, unsigned long long))     \
  CALL(launch_graph, "cuGraphLaunch", (Handle, Handle))                                       \
  CALL(load_module, "cuModuleLoadData", (Handle*, const void*))                               \
  CALL(find_function, "cuModuleGetFunction", (Handle*, Handle, const char*))                  \
  CALL(launch, "cuLaunchKernel",                                                              \
       (Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, \
        void**, void**))

// NOLINTBEGIN(bugprone-macro-parentheses): a member and its parameters have none.
struct Driver {
#define TW_MEMBER(member, name, parameters) Result(*member) parameters = nullptr;
  TW_GPU_CALLS(TW_MEMBER)
#undef TW_MEMBER
  std::string why_not;  // a sentence where there is no GPU to test on
  std::string path;     // of the library
  int devices = 0;
};
// NOLINTEND(bugprone-macro-parentheses)

// The driver: opened by the first to ask. A process that forks must not have asked.
const Driver& driver();

// The same, started, with the primary context of device 0 current.
const Driver& started();

// Ends the program with a sentence when the result is no success.
void must(Result result, const char* what);

// Kernels of the tests. `gate` waits until the word is not 0; `trap` ends the context of the
// process; `empty` does nothing.
Handle kernel(const char* name);

// A word that a gate waits for.
class Gate {
 public:
  Gate();
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  void close_on(Handle stream);  // what is enqueued there from now on waits
  void open();

 private:
  volatile std::uint32_t* word_ = nullptr;
};

class Stream {
 public:
  static constexpr unsigned kBlocking = 0, kNonBlocking = 1;
  explicit Stream(unsigned kind = kNonBlocking) {
    must(started().create_stream(&handle_, kind), "a stream");
  }
  ~Stream() { driver().destroy_stream(handle_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

// Tests that need a GPU: skipped, with a sentence, where there is none.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!driver().why_not.empty()) GTEST_SKIP() << driver().why_not;
  }
};

}  // namespace tilewise::gpu
