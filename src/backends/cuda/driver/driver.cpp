#include "backends/cuda/driver/driver.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <mutex>

namespace tilewise::cuda {
namespace {

// cuGetProcAddress_v2: (name, place, CUDA version, flags, what was found).
using Resolve = Result (*)(const char*, void**, int, std::uint64_t, int*);

enum class State { kClosed, kOpening, kOpen, kRefused };
std::atomic<State> state{State::kClosed};
// This process is a child of one that had begun to start CUDA, which nothing can repair.
std::atomic<bool> is_lost{false};
std::once_flag once;
Calls table;
Status why;

void be_a_child() {
  const State now = state.load();
  is_lost = is_lost || now == State::kOpening || now == State::kOpen;
}

Status start_failure(Result result) {
  switch (result) {
    case kNoDevice:
      return unsupported(
          "the NVIDIA driver sees no GPU: look whether CUDA_VISIBLE_DEVICES is empty or wrong, or "
          "the container lacks --gpus.");
    case kNotInitialized:
      return unsupported(
          "CUDA cannot be used in a process that was forked after its parent used CUDA: start "
          "workers by 'spawn'.");
    case kStubLibrary:
      return unsupported(
          "libcuda.so.1 is the toolkit's stub and no driver: take .../stubs off the library path.");
    case kDriverMismatch:
      return unsupported(
          "libcuda and the loaded kernel module are of different versions: restart the machine, or "
          "remove the compat package.");
    case kUnknown:
      return unsupported(
          "the NVIDIA driver does not start (999): look whether the module nvidia_uvm is loaded "
          "and "
          "/dev/nvidia* may be read.");
    default:
      return unsupported(
          "the NVIDIA driver does not start: cuInit fails with %d; nvidia-smi may "
          "say more.",
          result);
  }
}

// Each name in the form of the version that is meant. A name that is newer than that version is
// found as a null pointer, with success.
Status resolve_all(Resolve resolve, Calls& calls) {
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
  // Never closed: its threads and exit handlers stay.
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
  // Works before cuInit, and says whether this is a stub.
  if (const Result result = version ? version(&calls.version) : kOk) return start_failure(result);
  if (!version || !start || !resolve || calls.version < kOldestDriver)
    return unsupported(
        "the NVIDIA driver is too old (CUDA %d.%d): install 525.60.13 (CUDA 12.0) or a newer one.",
        calls.version / 1000, calls.version / 10 % 100);
  TW_TRY(resolve_all(resolve, calls));
  if (const Result result = start(0)) return start_failure(result);
  return {};
}

void open_once() {
  state = State::kOpening;
  pthread_atfork(nullptr, nullptr, be_a_child);
  why = open(table);
  state = why.ok() ? State::kOpen : State::kRefused;
}

const char* advice(Result result) {
  switch (result) {
    case kOutOfMemory:
      return "free memory of the device.";
    case kInvalidDevice:
      return "give the index of a GPU that the process sees.";
    case kNoBinaryForGpu:
      return "the kernel was compiled for another GPU.";
    case kUnsupportedPtx:
      return "the kernel's PTX is newer than the driver: update that.";
    case kInvalidHandle:
    case kInvalidContext:
      return "the stream is not of this device, or was destroyed.";
    case kContextDestroyed:
      return "the device was reset.";
    case kCaptureUnsupported:
    case kCaptureInvalidated:
    case kCaptureImplicit:
      return "this cannot be done while a stream is captured: prepare the call before.";
    default:
      break;
  }
  // Faults of a kernel stay: every later call of the process gets them, whosever it was.
  if (result >= kIllegalAddress && result <= kLaunchFailed)
    return "a kernel of this process failed, now or before: end the process; compute-sanitizer "
           "finds "
           "the place.";
  return "the NVIDIA driver says no more.";
}

}  // namespace

Status open_driver(const Calls*& calls) {
  calls = nullptr;
  if (is_lost.load(std::memory_order_relaxed)) return start_failure(kNotInitialized);
  if (state.load(std::memory_order_acquire) != State::kOpen) std::call_once(once, open_once);
  if (!why.ok()) return why;
  calls = &table;
  return {};
}

void replace_driver(const char* path) {
  driver_path = path;
}

Status driver_failure(const Calls& calls, Result result, const char* doing) {
  const char* name = nullptr;
  if (calls.error_name) calls.error_name(result, &name);
  return failed("%s: %s (%d): %s", doing, name ? name : "an unknown error", result, advice(result));
}

}  // namespace tilewise::cuda
