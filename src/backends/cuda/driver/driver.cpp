#include "backends/cuda/driver/driver.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <mutex>

#include "backends/cuda/driver/failure.h"

namespace tilewise::cuda {
namespace {

// cuGetProcAddress_v2: (name, place, CUDA version, flags, what was found).
using Resolve = Result (*)(const char*, void**, int, std::uint64_t, int*);

enum class State { kClosed, kOpening, kOpen, kRefused };
std::atomic<State> state{State::kClosed};
// This process was forked from one that had begun to start CUDA, which cannot be repaired.
std::atomic<bool> is_lost{false};
std::once_flag once;
Calls table;
Status why;

void be_a_child() {
  const State now = state.load();
  is_lost = is_lost || now == State::kOpening || now == State::kOpen;
}

// Finds each function by its name and the CUDA version of its signature, or kOldestDriver if that
// is newer. For a name that is newer than that version, the driver reports success and a null
// pointer.
Status resolve_all(Resolve resolve, ErrorName error_name, Calls& calls) {
  struct Wanted {
    const char* name;
    int since;
    void** place;
  };
#define TW_WANTED(member, name, since, parameters) \
  {name, since, reinterpret_cast<void**>(&calls.member)},
  const Wanted all[] = {TW_DRIVER_CALLS(TW_WANTED)};
#undef TW_WANTED
  for (const Wanted& each : all) {
    int found = 0;
    const int version = each.since > kOldestDriver ? each.since : kOldestDriver;
    const Result result = resolve(each.name, each.place, version, 0, &found);
    if (result != kOk && result != kNotFound) return start_failure(result, error_name);
    if (result != kOk || !*each.place)
      return unsupported("the NVIDIA driver lacks %s: update it.", each.name);
  }
  return {};
}

template <class Function>
Function symbol(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

const char* driver_path = "libcuda.so.1";

Status open(Calls& calls) {
  // Never closed, because its threads and exit handlers stay.
  void* library = dlopen(driver_path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* text = dlerror();
    return unsupported(
        "there is no NVIDIA driver: %.200s. Install one, or start the container with its GPUs.",
        text ? text : "libcuda.so.1 cannot be opened");
  }
  const auto version = symbol<Result (*)(int*)>(library, "cuDriverGetVersion");
  const auto start = symbol<Result (*)(unsigned)>(library, "cuInit");
  const auto resolve = symbol<Resolve>(library, "cuGetProcAddress_v2");
  // These two work before cuInit. The first shows whether this is a stub library.
  const auto error_name = symbol<ErrorName>(library, "cuGetErrorName");
  if (!version)
    return unsupported(
        "the libcuda.so.1 that is found is no NVIDIA driver, for it lacks cuDriverGetVersion: take "
        "it off the library path.");
  if (const Result result = version(&calls.version)) return start_failure(result, error_name);
  if (!start || !resolve || calls.version < kOldestDriver)
    return unsupported(
        "the NVIDIA driver is too old (CUDA %d.%d): install 525.60.13 (CUDA 12.0) or a newer one.",
        calls.version / 1000, calls.version / 10 % 100);
  TW_TRY(resolve_all(resolve, error_name, calls));
  if (const Result result = start(0)) return start_failure(result, error_name);
  return {};
}

void open_once() {
  state = State::kOpening;
  pthread_atfork(nullptr, nullptr, be_a_child);
  why = open(table);
  state = why.ok() ? State::kOpen : State::kRefused;
}

}  // namespace

Status open_driver(const Calls*& calls) {
  calls = nullptr;
  if (is_lost.load(std::memory_order_relaxed)) return forked_too_late();
  if (state.load(std::memory_order_acquire) != State::kOpen) std::call_once(once, open_once);
  if (!why.ok()) return why;
  calls = &table;
  return {};
}

void replace_driver(const char* path) {
  driver_path = path;
}

}  // namespace tilewise::cuda
