// A CUDA driver, and an NVRTC, that play a GPU: its memory is the host's, and its kernels are their
// own text, run by the emulator. A program that finds this library as libcuda.so.1
// and as TILEWISE_NVRTC computes on "cuda" where there is no GPU. Only kernels and copies may touch
// the device's memory: at other times it is closed, and a program that touches it dies.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <string>

#include "backends/cuda/driver/calls.h"
#include "backends/cuda/kernels/plain/backward_bias.h"
#include "backends/cuda/kernels/plain/backward_heads.h"
#include "backends/cuda/kernels/plain/backward_keys.h"
#include "backends/cuda/kernels/plain/backward_query.h"
#include "backends/cuda/kernels/plain/backward_rows.h"
#include "backends/cuda/kernels/plain/cache.h"
#include "backends/cuda/kernels/plain/forward.h"
#include "backends/cuda/kernels/plain/merge.h"
#include "backends/cuda/kernels/plain/probabilities.h"
#include "backends/cuda/kernels/plain/tables.h"
#include "emulated_backward.h"
#include "emulated_memory.h"
#include "emulated_sm80.h"
#include "emulator/emulator.h"

#define TW_SHOWN __attribute__((visibility("default")))

namespace tilewise::cuda {
namespace {

// Never destroyed: programs free memory while they end.
Memory& memory() {
  static auto& the_memory = *new Memory;
  return the_memory;
}

using Body = void (*)(const void*);

template <class Arguments, void (*kKernel)(const Arguments&)>
void body(const void* arguments) {
  kKernel(*static_cast<const Arguments*>(arguments));
}

struct Named {
  const char* name;
  Body body;
  Sm80Function forward = nullptr;  // one of these in place of the body
  BackwardFunction backward = nullptr;
  std::size_t shared_bytes = 0;  // that it needs at least

  void operator()(const void* arguments) const {
    if (forward)
      forward(*static_cast<const sm80::Forward*>(arguments));
    else if (backward)
      backward(*static_cast<const sm80::Backward*>(arguments));
    else
      body(arguments);
  }
};

// Keeps a copy until the program ends, because the driver hands out its address.
Named* keep(const Named& named) {
  static std::mutex mutex;
  static auto& kept = *new std::deque<Named>;
  const std::lock_guard lock(mutex);
  return &kept.emplace_back(named);
}

#define TW_PLAYED(name, given) \
  { "tilewise_plain_" #name, body<given, plain::name> }
#define TW_PLAYED_PAIR(name, given)                                      \
  {"tilewise_plain_" #name "_float", body<given, plain::name<float>>}, { \
    "tilewise_plain_" #name "_double", body<given, plain::name<double>>  \
  }
const Named kKernels[] = {TW_PLAYED_PAIR(forward, Attention),
                          TW_PLAYED_PAIR(probabilities, Attention),
                          TW_PLAYED_PAIR(backward_rows, Backward),
                          TW_PLAYED_PAIR(backward_keys, Backward),
                          TW_PLAYED_PAIR(backward_query, Backward),
                          TW_PLAYED_PAIR(backward_bias, Backward),
                          TW_PLAYED_PAIR(backward_heads, Backward),
                          TW_PLAYED(tables, Tables),
                          TW_PLAYED(rotary, Rotary),
                          TW_PLAYED(append, Append),
                          TW_PLAYED(merge, Merge)};
#undef TW_PLAYED_PAIR
#undef TW_PLAYED

Context the_context() {
  static char place;
  return reinterpret_cast<Context>(&place);
}

thread_local int depth = 0;

// The driver's calls, by the names of the members of Calls.
namespace played {

Result driver_version(int* version) {
  *version = 12080;
  return kOk;
}
Result error_name(Result, const char** name) {
  *name = "CUDA_ERROR_OF_THE_TEST";
  return kOk;
}
// With this variable the first device is too old, and there is a second one.
bool first_is_old() {
  return std::getenv("TILEWISE_PLAYED_OLD") != nullptr;
}
Result device_count(int* count) {
  *count = first_is_old() ? 2 : 1;
  return kOk;
}
Result device_get(Ordinal* ordinal, int index) {
  *ordinal = index;
  return kOk;
}
Result device_attribute(int* value, int attribute, Ordinal ordinal) {
  switch (attribute) {
    case kMajor:
      *value = ordinal == 0 && first_is_old() ? 7 : 9;
      break;
    case kMinor:
    case kPageableMemoryAccess:
      *value = 0;
      break;
    case kOptInSharedBytes:
      *value = 227 * 1024;
      break;
    case kClock:
      *value = 1980000;
      break;
    case kAllSharedBytes:
      *value = 228 << 10;
      break;
    default:
      *value = 132;
  }
  return kOk;
}
Result device_name(char* name, int bytes, Ordinal) {
  std::snprintf(name, static_cast<std::size_t>(bytes), "a GPU that is played");
  return kOk;
}
Result primary_retain(Context* context, Ordinal) {
  *context = the_context();
  return kOk;
}
Result primary_release(Ordinal) {
  return kOk;
}
Result context_current(Context* context) {
  *context = depth > 0 ? the_context() : nullptr;
  return kOk;
}
Result context_push(Context) {
  ++depth;
  return kOk;
}
Result context_pop(Context* context) {
  *context = the_context();
  --depth;
  return kOk;
}
Result context_id(Context, unsigned long long* id) {
  *id = 1;
  return kOk;
}
Result stream_context(Stream, Context* context) {
  *context = the_context();
  return kOk;
}
Result stream_capturing(Stream stream, int* state) {
  if (stream == nullptr && depth == 0) return kInvalidContext;
  *state = 0;
  return kOk;
}
Result stream_synchronize(Stream) {
  return kOk;
}
Result exchange_capture_mode(int*) {
  return kOk;
}
Result library_load(Library* library, const void*, int*, void**, unsigned, int*, void**, unsigned) {
  static char place;
  *library = reinterpret_cast<Library>(&place);
  return kOk;
}
Result library_unload(Library) {
  return kOk;
}
Result library_kernel(Kernel* kernel, Library, const char* name) {
  for (const Named& each : kKernels) {
    if (std::strcmp(each.name, name) != 0) continue;
    *kernel = reinterpret_cast<Kernel>(const_cast<Named*>(&each));
    return kOk;
  }
  std::size_t bytes = 0;
  if (const BackwardFunction function = emulated_backward(std::string(name), bytes)) {
    *kernel = reinterpret_cast<Kernel>(keep({"", nullptr, nullptr, function, bytes}));
    return kOk;
  }
  if (const Sm80Function function = emulated_sm80(name, bytes)) {
    *kernel = reinterpret_cast<Kernel>(keep({"", nullptr, function, nullptr, bytes}));
    return kOk;
  }
  std::fprintf(stderr, "The emulator knows no kernel %s.\n", name);
  return kNoBinaryForGpu;
}
Result kernel_function(Function* function, Kernel kernel) {
  *function = reinterpret_cast<Function>(kernel);
  return kOk;
}
Result kernel_attribute(int* value, int, Kernel, Ordinal) {
  *value = 0;
  return kOk;
}
Result kernel_set(int, int, Kernel, Ordinal) {
  return kOk;
}
// As many parameters as the driver's has.
Result launch(const void* kernel, unsigned blocks, unsigned, unsigned, unsigned threads, unsigned,
              unsigned, unsigned shared_bytes, Stream, void** arguments, void**) {
  if (depth == 0) return kInvalidContext;
  const Named& run = *static_cast<const Named*>(kernel);
  const emulator::Launch how{blocks, static_cast<std::int32_t>(threads),
                             std::max<std::size_t>(shared_bytes, run.shared_bytes)};
  return memory().open_for([&] {
    try {
      emulator::run(how, [&] { run(arguments[0]); });
    } catch (const std::exception& fault) {
      std::fprintf(stderr, "The emulator: %s\n", fault.what());
      return kLaunchFailed;
    }
    return kOk;
  });
}
Result pointer_attributes(unsigned count, const int* wanted, void** answers, Address address) {
  for (unsigned i = 0; i < count; ++i)
    *static_cast<int*>(answers[i]) = wanted[i] == kPointerKind ? memory().kind_of(address) : 0;
  return kOk;
}
Result host_register(void* pages, std::size_t bytes, unsigned) {
  memory().show(pages, bytes);
  return kOk;
}
Result host_address(Address* address, void* page, unsigned) {
  *address = reinterpret_cast<Address>(page);
  return kOk;
}
Result device_bytes(std::size_t* bytes, Ordinal) {
  *bytes = std::size_t{1} << 30;
  return kOk;
}
Result memory_allocate(Address* address, std::size_t bytes) {
  return depth == 0 ? kInvalidContext : memory().allocate(address, bytes);
}
Result memory_free(Address address) {
  return depth == 0 ? kInvalidContext : memory().free(address);
}
Result memory_copy(Address to, Address from, std::size_t bytes, Stream) {
  if (depth == 0) return kInvalidContext;
  return memory().open_for([&] {
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    return kOk;
  });
}

}  // namespace played

// Every call that the library wants, with the parameters that it has for it.
Calls all_calls() {
  Calls calls;
#define TW_PLAY(member, name, since, parameters) calls.member = played::member;
  TW_DRIVER_CALLS(TW_PLAY)
#undef TW_PLAY
  return calls;
}

void* call_named(const std::string& wanted) {
  static const Calls calls = all_calls();
#define TW_FIND(member, name, since, parameters) \
  if (wanted == (name)) return reinterpret_cast<void*>(calls.member);
  TW_DRIVER_CALLS(TW_FIND)
#undef TW_FIND
  return nullptr;
}

}  // namespace
}  // namespace tilewise::cuda

using namespace tilewise::cuda;

extern "C" {

TW_SHOWN int cuDriverGetVersion(int* version) {
  return played::driver_version(version);
}
TW_SHOWN int cuInit(unsigned) {
  return kOk;
}
TW_SHOWN int cuGetProcAddress_v2(const char* name, void** place, int, std::uint64_t, int*) {
  *place = call_named(name);
  return *place != nullptr ? kOk : 500;
}

// What tests/conformance/device.cpp looks up by name.
TW_SHOWN int cuDevicePrimaryCtxRetain(Context* context, int device) {
  return played::primary_retain(context, device);
}
TW_SHOWN int cuCtxSetCurrent(Context) {
  depth = depth == 0 ? 1 : depth;
  return kOk;
}
TW_SHOWN int cuCtxSynchronize() {
  return kOk;
}
TW_SHOWN int cuMemHostRegister_v2(void* pages, std::size_t bytes, unsigned flags) {
  return played::host_register(pages, bytes, flags);
}
TW_SHOWN int cuMemHostUnregister(void* pages) {
  memory().hide(pages);
  return kOk;
}

// A compiler whose cubins say nothing: kernels are known by their names.
TW_SHOWN int nvrtcVersion(int* major, int* minor) {
  *major = 12;
  *minor = 8;
  return 0;
}
TW_SHOWN int nvrtcCreateProgram(void** program, const char*, const char*, int, const char* const*,
                                const char* const*) {
  *program = nullptr;
  return 0;
}
TW_SHOWN int nvrtcCompileProgram(void*, int, const char* const*) {
  return 0;
}
TW_SHOWN int nvrtcDestroyProgram(void**) {
  return 0;
}
TW_SHOWN int nvrtcGetProgramLogSize(void*, std::size_t* bytes) {
  *bytes = 0;
  return 0;
}
TW_SHOWN int nvrtcGetProgramLog(void*, char*) {
  return 0;
}
TW_SHOWN int nvrtcGetCUBINSize(void*, std::size_t* bytes) {
  *bytes = 4;
  return 0;
}
TW_SHOWN int nvrtcGetCUBIN(void*, char* cubin) {
  std::memcpy(cubin, "none", 4);
  return 0;
}
TW_SHOWN int nvrtcGetPTXSize(void*, std::size_t* bytes) {
  *bytes = 0;
  return 0;
}
TW_SHOWN int nvrtcGetPTX(void*, char*) {
  return 0;
}

}  // extern "C"
