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

// No failure is made of these calls, because the library could do nothing about it.
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

// One of the driver's functions: where the real one is kept, and what is called in its place.
struct Between {
  const char* name;
  void** real;
  void* counted;
};

template <class Function, Function Calls::*member>
Between between(const char* name) {
  using Through = Counted<Function, member>;
  return {name, reinterpret_cast<void**>(&(real.*member)),
          reinterpret_cast<void*>(may_fail(name) ? Through::may_fail : Through::never_fails)};
}

void put_between(const char* name, void** place) {
#define TW_BETWEEN(member, exported, since, parameters) \
  between<decltype(Calls::member), &Calls::member>(exported),
  static const Between all[] = {TW_DRIVER_CALLS(TW_BETWEEN)};
#undef TW_BETWEEN
  for (const Between& each : all) {
    if (std::strcmp(each.name, name) != 0) continue;
    *each.real = *place;
    *place = each.counted;
  }
}

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

// NOLINTBEGIN(readability-identifier-naming): the driver's own names.
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
  put_between(name, place);
  return result;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
