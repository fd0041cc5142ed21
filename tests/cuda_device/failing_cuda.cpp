#include "cuda_device/failing_cuda.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

#include "backends/cuda/driver/calls.h"

namespace {

using tilewise::cuda::Calls;
using tilewise::cuda::Result;

tilewise::gpu::FailingCuda state;
Calls real;

// Nobody can do anything about these, and the real ones have been called by then.
bool may_fail(const char* name) {
  return std::strcmp(name, "cuCtxPopCurrent") != 0 && std::strcmp(name, "cuLibraryUnload") != 0 &&
         std::strcmp(name, "cuGetErrorName") != 0;
}

Result counted() {
  ++state.calls;
  int left = state.failing_call;
  while (left >= 0)
    if (state.failing_call.compare_exchange_weak(left, left - 1))
      return left == 0 ? tilewise::cuda::kOutOfMemory : tilewise::cuda::kOk;
  return tilewise::cuda::kOk;
}

template <class Function, Function Calls::*member>
struct Counted;
template <class... A, Result (*Calls::*member)(A...)>
struct Counted<Result (*)(A...), member> {
  static Result may_fail(A... arguments) {
    const Result failed = counted();
    return failed != 0 ? failed : (real.*member)(arguments...);
  }
  static Result never_fails(A... arguments) { return (real.*member)(arguments...); }
};

void* real_library() {
  static void* const library = [] {
    const char* path = std::getenv("TILEWISE_TEST_REAL_CUDA");
    return path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  }();
  return library;
}

template <class Function>
Function real_function(const char* name) {
  return reinterpret_cast<Function>(dlsym(real_library(), name));
}

}  // namespace

extern "C" {

tilewise::gpu::FailingCuda* tilewise_failing_cuda() {
  return &state;
}

Result cuDriverGetVersion(int* version) {
  return real_function<Result (*)(int*)>("cuDriverGetVersion")(version);
}

Result cuInit(unsigned flags) {
  return real_function<Result (*)(unsigned)>("cuInit")(flags);
}

Result cuGetProcAddress_v2(const char* name, void** place, int version, std::uint64_t flags,
                           int* found) {
  using Resolve = Result (*)(const char*, void**, int, std::uint64_t, int*);
  const Result result =
      real_function<Resolve>("cuGetProcAddress_v2")(name, place, version, flags, found);
  if (result != 0 || !*place) return result;
#define TW_TAKE(member, exported, since, parameters)                                             \
  if (std::strcmp(name, exported) == 0) {                                                        \
    using Through = Counted<decltype(Calls::member), &Calls::member>;                            \
    std::memcpy(&real.member, place, sizeof *place);                                             \
    *place = reinterpret_cast<void*>(may_fail(name) ? Through::may_fail : Through::never_fails); \
  }
  TW_DRIVER_CALLS(TW_TAKE)
#undef TW_TAKE
  return result;
}

}  // extern "C"
