// A CUDA driver that drives nothing: enough of libcuda.so.1 for tests of how it is called.
#include "fake_cuda.h"

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

using tilewise::cuda::FakeCuda;

namespace {

FakeCuda fake;
std::mutex names_mutex;
thread_local int mode = 0, depth = 0;
thread_local void* stack[8];

// Counts by relaxed atomics, without a lock: the fake driver orders no memory between threads, and
// so hides no race of the library from the thread sanitizer.
int count(int& number, int more = 1) {
  return __atomic_fetch_add(&number, more, __ATOMIC_RELAXED);
}
template <class Value>
void tell(Value& seen, Value value) {
  __atomic_store_n(&seen, value, __ATOMIC_RELAXED);
}

// Counts a call, and fails it if it is the one that is to fail.
int counted() {
  count(fake.calls);
  if (__atomic_load_n(&fake.failing_call, __ATOMIC_RELAXED) < 0) return 0;
  return count(fake.failing_call, -1) == 0 ? fake.failure : 0;
}

// The same for a use of a stream, which also fails with the error that a kernel has left.
int used() {
  const int result = counted();
  return result != 0 ? result : fake.poison;
}

void* handle(int device, int kind) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>((device + 1) * 4096 + kind * 16));
}

int error_name(int error, const char** name) {
  *name = error == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_THE_TEST";
  return 0;
}
int device_count(int* count) {
  *count = fake.devices;
  return counted();
}
int device_get(int* device, int index) {
  *device = index;
  return counted();
}
int device_attribute(int* value, int attribute, int) {
  constexpr int kReadsAllMemory = 88;
  *value = attribute == 75                ? fake.major
           : attribute == 76              ? fake.minor
           : attribute == 81              ? fake.all_shared_bytes
           : attribute == kReadsAllMemory ? 0
           : attribute == 13              ? 1980000
           : attribute == 97              ? 232448
                                          : 132;
  return counted();
}
int device_name(char* name, int bytes, int) {
  std::strncpy(name, "fake", static_cast<std::size_t>(bytes));
  return counted();
}
// Sleeps, so that other threads come to open the device meanwhile.
int primary_retain(void** context, int device) {
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  count(fake.opened);
  *context = handle(device, 0);
  int result = counted();
  if (fake.retain_result != 0) result = fake.retain_result;
  count(fake.retained, result == 0);
  return result;
}
// Never fails: a reset leaves what was retained.
int primary_release(int) {
  count(fake.retained, -1);
  return 0;
}
int context_current(void** context) {
  *context = depth > 0 ? stack[depth - 1] : fake.current;
  return counted();
}
int context_push(void* context) {
  constexpr int kInvalidContext = 201;
  int result = counted();
  if (fake.refuses_push) result = kInvalidContext;
  if (result == 0) stack[depth++] = context;
  count(fake.pushes);
  tell<const void*>(fake.pushed, context);
  tell(fake.depth, depth);
  return result;
}
// Never fails: whoever pushed must be able to go back.
int context_pop(void** context) {
  *context = stack[--depth];
  tell(fake.depth, depth);
  return 0;
}
int context_id(void* context, unsigned long long* id) {
  *id = reinterpret_cast<std::uintptr_t>(context) +
        100000 * __atomic_load_n(&fake.reset, __ATOMIC_RELAXED);
  void (*call)(FakeCuda&) = nullptr;
  __atomic_exchange(&fake.on_context_id, &call, &call, __ATOMIC_RELAXED);
  if (call) call(fake);
  return counted();
}
// A stream's device is in its handle.
int stream_context(void* stream, void** context) {
  if (stream == nullptr) tell(fake.asked_stream_zero, true);
  *context = handle(static_cast<int>(reinterpret_cast<std::uintptr_t>(stream) / 4096) - 1, 0);
  return used();
}
int stream_capturing(void* stream, int* state) {
  constexpr int kInvalidContext = 201;  // whose default stream is it?
  if (stream == nullptr && depth == 0 && !fake.current) return kInvalidContext;
  *state = fake.captures ? 1 : 0;
  return used();
}
int stream_synchronize(void* stream) {
  count(fake.waits);
  count(fake.relaxed, mode == 2);
  tell<const void*>(fake.waited, stream);
  return used();
}
// Setting any mode but the relaxed one never fails.
int exchange_capture_mode(int* other) {
  constexpr int kRelaxed = 2;
  if (*other == kRelaxed)
    if (const int result = counted(); result != 0) return result;
  const int before = mode;
  mode = *other;
  *other = before;
  tell(fake.capture_mode, mode);
  return 0;
}
int library_load(void** library, const void*, int*, void**, unsigned, int*, void**, unsigned) {
  count(fake.loads);
  if (mode == 2) count(fake.loaded_relaxed);
  *library = handle(0, 1);
  const int result = counted();
  if (result != 0) count(fake.loads, -1);
  return result;
}
int library_unload(void*) {
  count(fake.unloads);
  return 0;
}
// A handle for each name.
int library_kernel(void** kernel, void*, const char* name) {
  const std::lock_guard lock(names_mutex);
  int n = 0;
  while (n + 1 < FakeCuda::kMostNames && fake.names[n][0] && std::strcmp(fake.names[n], name) != 0)
    ++n;
  std::snprintf(fake.names[n], sizeof fake.names[n], "%s", name);
  *kernel = fake.names[n];
  return counted();
}
int kernel_function(void** function, void*) {
  *function = handle(0, 3);
  return counted();
}
int kernel_attribute(int* value, int, void*, int) {
  *value = 0;
  return counted();
}
int kernel_set(int, int value, void*, int) {
  tell(fake.shared_bytes, value);
  return counted();
}
// As many parameters as the driver's has.
int launch(const void* kernel, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned,
           unsigned, unsigned, void* stream, void** arguments, void**) {
  const int result = used();
  if (result != 0) return result;
  const int number = count(fake.launches);
  if (number < FakeCuda::kMostLaunches)
    fake.launched[number] = static_cast<int>((static_cast<const char*>(kernel) - fake.names[0]) /
                                             static_cast<std::ptrdiff_t>(sizeof fake.names[0]));
  tell<const void*>(fake.stream, stream);
  tell(fake.grid[0], x);
  tell(fake.grid[1], y);
  tell(fake.grid[2], z);
  tell(fake.threads, threads);
  for (int k = 0; k < 2 && arguments[k]; ++k) {
    std::uint64_t argument = 0;
    std::memcpy(&argument, arguments[k], sizeof argument);
    tell(fake.arguments[k], argument);
  }
  return 0;
}
// An address in none of the ranges is pinned host memory, which both sides read.
int pointer_attributes(unsigned count, const int* wanted, void** answers, std::uint64_t address) {
  FakeCuda::Range found{nullptr, nullptr, 1, 0, 0};
  for (const FakeCuda::Range& range : fake.memory)
    if (address >= reinterpret_cast<std::uintptr_t>(range.begin) &&
        address < reinterpret_cast<std::uintptr_t>(range.end))
      found = range;
  for (unsigned n = 0; n < count; ++n)
    *static_cast<int*>(answers[n]) = wanted[n] == 2   ? found.kind
                                     : wanted[n] == 9 ? found.device
                                                      : found.managed;
  return counted();
}
int host_register(void* page, std::size_t, unsigned) {
  count(fake.registrations);
  fake.page = static_cast<std::uint32_t*>(page);
  if (fake.register_result != 0) return fake.register_result;
  return counted();
}
int host_address(std::uint64_t* address, void* page, unsigned) {
  *address = reinterpret_cast<std::uintptr_t>(page);
  return counted();
}

int device_bytes(std::size_t* bytes, int) {
  *bytes = std::size_t{1} << 37;
  return counted();
}
// Allocates host memory, which the tests can read.
int memory_allocate(std::uint64_t* address, std::size_t bytes) {
  const int result = counted();
  if (result != 0) return result;
  fake.allocated = std::malloc(bytes);
  *address = reinterpret_cast<std::uintptr_t>(fake.allocated);
  count(fake.allocations);
  count(fake.relaxed, mode == 2);
  return 0;
}
int memory_free(std::uint64_t address) {
  const int result = counted();
  if (result != 0) return result;
  std::free(reinterpret_cast<void*>(address));
  count(fake.frees);
  count(fake.relaxed, mode == 2);
  return 0;
}
int memory_copy(std::uint64_t to, std::uint64_t from, std::size_t bytes, void* stream) {
  const int result = counted();
  if (result != 0) return result;
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  tell(fake.copied_on, stream);
  return 0;
}

struct Named {
  const char* name;
  void* function;
};

template <class Function>
void* erased(Function* function) {
  return reinterpret_cast<void*>(function);
}

}  // namespace

extern "C" {

FakeCuda* tilewise_fake_cuda() {
  return &fake;
}

int cuDriverGetVersion(int* version) {
  *version = fake.version;
  return fake.version_result;
}

int cuInit(unsigned) {
  return fake.start_result;
}

// Knows the name of one error, and fails for others, as an old driver does for new errors.
int cuGetErrorName(int error, const char** name) {
  constexpr int kUnknownToUs = 4711, kInvalidValue = 1;
  *name = nullptr;
  if (error != kUnknownToUs) return kInvalidValue;
  *name = "CUDA_ERROR_OF_TOMORROW";
  return 0;
}

int cuGetProcAddress_v2(const char* name, void** place, int version, std::uint64_t, int* found) {
  const Named all[] = {{"cuDriverGetVersion", erased(cuDriverGetVersion)},
                       {"cuGetErrorName", erased(error_name)},
                       {"cuDeviceGetCount", erased(device_count)},
                       {"cuDeviceGet", erased(device_get)},
                       {"cuDeviceGetAttribute", erased(device_attribute)},
                       {"cuDeviceGetName", erased(device_name)},
                       {"cuDevicePrimaryCtxRetain", erased(primary_retain)},
                       {"cuDevicePrimaryCtxRelease", erased(primary_release)},
                       {"cuCtxGetCurrent", erased(context_current)},
                       {"cuCtxPushCurrent", erased(context_push)},
                       {"cuCtxPopCurrent", erased(context_pop)},
                       {"cuCtxGetId", erased(context_id)},
                       {"cuStreamGetCtx", erased(stream_context)},
                       {"cuStreamIsCapturing", erased(stream_capturing)},
                       {"cuStreamSynchronize", erased(stream_synchronize)},
                       {"cuThreadExchangeStreamCaptureMode", erased(exchange_capture_mode)},
                       {"cuLibraryLoadData", erased(library_load)},
                       {"cuLibraryUnload", erased(library_unload)},
                       {"cuLibraryGetKernel", erased(library_kernel)},
                       {"cuKernelGetFunction", erased(kernel_function)},
                       {"cuKernelGetAttribute", erased(kernel_attribute)},
                       {"cuKernelSetAttribute", erased(kernel_set)},
                       {"cuLaunchKernel", erased(launch)},
                       {"cuPointerGetAttributes", erased(pointer_attributes)},
                       {"cuMemHostRegister", erased(host_register)},
                       {"cuMemHostGetDevicePointer", erased(host_address)},
                       {"cuDeviceTotalMem", erased(device_bytes)},
                       {"cuMemAlloc", erased(memory_allocate)},
                       {"cuMemFree", erased(memory_free)},
                       {"cuMemcpyAsync", erased(memory_copy)}};
  if (version < fake.oldest_asked) fake.oldest_asked = version;
  if (version > fake.newest_asked) fake.newest_asked = version;
  *place = nullptr;
  *found = 0;
  if (fake.resolve_result != 0) return fake.resolve_result;
  if (fake.missing && std::strcmp(name, fake.missing) == 0) return 0;
  for (const Named& each : all)
    if (std::strcmp(each.name, name) == 0) *place = each.function;
  return *place ? 0 : 500;
}

}  // extern "C"
