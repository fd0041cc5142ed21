#include "conformance/device.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

namespace tilewise::conformance {
namespace {

// The functions of the CUDA driver that are used.
struct Driver {
  int (*start)(unsigned) = nullptr;
  int (*retain)(void**, int) = nullptr;
  int (*make_current)(void*) = nullptr;
  int (*wait)() = nullptr;
  int (*show)(void*, std::size_t, unsigned) = nullptr;
  int (*hide)(void*) = nullptr;
};

void must(int result, const char* what) {
  if (result == 0) return;
  std::fprintf(stderr, "The device of the checks: %s failed with %d.\n", what, result);
  std::abort();
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  must(function == nullptr, name);
}

std::optional<tw_device> chosen;

tw_device named_by_environment() {
  const char* text = std::getenv("TILEWISE_TEST_DEVICE");
  if (text == nullptr || *text == '\0') return {TW_CPU, 0};
  const std::string name = text;
  must(name.rfind("cuda", 0) != 0, "reading a name, cuda or cuda:1, ");
  return {TW_CUDA, name.size() > 5 ? std::atoi(name.c_str() + 5) : 0};
}

class Device {
 public:
  explicit Device(tw_device where) : where_(where) {
    if (where.kind == TW_CPU) return;
    void* library = dlopen("libcuda.so.1", RTLD_NOW);
    must(library == nullptr, "opening libcuda.so.1");
    find(library, "cuInit", driver_.start);
    find(library, "cuDevicePrimaryCtxRetain", driver_.retain);
    find(library, "cuCtxSetCurrent", driver_.make_current);
    find(library, "cuCtxSynchronize", driver_.wait);
    find(library, "cuMemHostRegister_v2", driver_.show);
    find(library, "cuMemHostUnregister", driver_.hide);
    must(driver_.start(0), "cuInit");
    must(driver_.retain(&context_, where_.index), "cuDevicePrimaryCtxRetain");
  }

  tw_device where() const { return where_; }

  // The driver, with the context made current in the calling thread.
  const Driver& current() const {
    thread_local bool is_current = false;
    if (!is_current) must(driver_.make_current(context_), "cuCtxSetCurrent");
    is_current = true;
    return driver_;
  }

 private:
  tw_device where_;
  Driver driver_;
  void* context_ = nullptr;
};

const Device& device() {
  static const Device the_device(chosen ? *chosen : named_by_environment());
  return the_device;
}

}  // namespace

tw_device device_of_calls() {
  return device().where();
}

void use_device(tw_device where) {
  chosen = where;
}

void show(void* pages, std::size_t bytes) {
  constexpr unsigned kPortableAndMapped = 3;
  if (calls_run_on_device() && bytes > 0)
    must(device().current().show(pages, bytes, kPortableAndMapped), "cuMemHostRegister");
}

void hide(void* pages) {
  if (calls_run_on_device()) must(device().current().hide(pages), "cuMemHostUnregister");
}

void wait_for_device() {
  if (calls_run_on_device()) must(device().current().wait(), "a kernel");
}

}  // namespace tilewise::conformance
