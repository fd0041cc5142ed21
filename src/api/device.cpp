// The C face's functions for devices and their memory. The processor's part is here; for other
// devices the functions call the backend.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "api/call.h"
#include "problem/structs.h"

namespace tilewise {
namespace {

// The processor's own functions. A copy is done at once, so there is nothing to wait for.
Status count_processors(int& count) {
  count = 1;
  return {};
}

Status describe_processor(int, tw_device_facts& facts) {
  std::snprintf(facts.name, sizeof facts.name, "the processor");
  facts.processors = std::max(available_threads(), 0);
  return {};
}

Status allocate_here(int, std::size_t bytes, void*& memory) {
  constexpr std::size_t kLine = 64;
  const bool is_too_large = bytes > PTRDIFF_MAX - kLine;
  const std::size_t whole = (std::max<std::size_t>(bytes, 1) + kLine - 1) / kLine * kLine;
  memory = is_too_large ? nullptr : std::aligned_alloc(kLine, whole);
  return memory ? Status{} : failed("There is no memory for %zu bytes.", bytes);
}

Status release_here(int, void* memory) {
  std::free(memory);
  return {};
}

Status copy_here(int, void* to, const void* from, std::size_t bytes, void*) {
  std::memmove(to, from, bytes);
  return {};
}

Status synchronize_here(int, void*) {
  return {};
}

constexpr DeviceCalls kHere{.count = count_processors,
                            .describe = describe_processor,
                            .allocate = allocate_here,
                            .release = release_here,
                            .copy = copy_here,
                            .synchronize = synchronize_here};

Status find(int kind, const DeviceCalls*& calls) {
  calls = kind == TW_CPU ? &kHere : nullptr;
  if (calls) return {};
  if (kind != TW_CUDA)
    return invalid("The kind of device is %d: give TW_CPU (0) or TW_CUDA (1).", kind);
  for (const Backend* backend : backends())
    if (backend->device == kind && backend->devices) calls = backend->devices;
  return calls ? Status{} : unsupported("This library has no backend for CUDA devices.");
}

// Calls `use` with the functions of the device's kind and the device's index.
template <class Use>
Status with(const tw_device* device, const Use& use) {
  const tw_device which = device ? *device : tw_device{TW_CPU, 0};
  const DeviceCalls* calls = nullptr;
  TW_TRY(find(which.kind, calls));
  if (which.index < 0)
    return invalid("The device's index is %d: it must not be negative.", which.index);
  return use(*calls, static_cast<int>(which.index));
}

Status count(int32_t kind, int32_t* count) {
  if (!count) return invalid("count is null: give a place for the answer.");
  *count = 0;
  const DeviceCalls* calls = nullptr;
  TW_TRY(find(kind, calls));
  int found = 0;
  TW_TRY(calls->count(found));
  *count = found;
  return {};
}

Status describe(const tw_device* device, tw_device_facts* facts) {
  if (!facts) return invalid("facts is null: give a place for the answer.");
  TW_TRY(
      check_size(facts, {kFirstSize<tw_device_facts>, sizeof *facts}, "facts", "tw_device_facts"));
  tw_device_facts known{};
  TW_TRY(with(device,
              [&](const DeviceCalls& calls, int index) { return calls.describe(index, known); }));
  known.size = facts->size;
  std::memcpy(facts, &known, std::min(facts->size, sizeof known));
  return {};
}

Status allocate(const tw_device* device, std::size_t bytes, void** memory) {
  if (!memory) return invalid("memory is null: give a place for the answer.");
  *memory = nullptr;
  return with(device, [&](const DeviceCalls& calls, int index) {
    return calls.allocate(index, bytes, *memory);
  });
}

Status release(const tw_device* device, void* memory) {
  if (!memory) return {};
  return with(device,
              [&](const DeviceCalls& calls, int index) { return calls.release(index, memory); });
}

// The arguments of a copy.
struct Bytes {
  void* to;
  const void* from;
  std::size_t count;
};

Status copy(const tw_device* device, const Bytes& bytes, void* stream) {
  return with(device, [&](const DeviceCalls& calls, int index) -> Status {
    if (bytes.count == 0) return {};
    if (!bytes.to || !bytes.from)
      return invalid("%s is null: give memory of %zu bytes.", bytes.to ? "from" : "to",
                     bytes.count);
    return calls.copy(index, bytes.to, bytes.from, bytes.count, stream);
  });
}

Status synchronize(const tw_device* device, void* stream) {
  return with(device, [&](const DeviceCalls& calls, int index) {
    return calls.synchronize(index, stream);
  });
}

}  // namespace
}  // namespace tilewise

using namespace tilewise;

int32_t tw_backend_device(int32_t i) {
  const auto all = backends();
  const auto place = static_cast<std::size_t>(i);
  return i >= 0 && place < all.size() ? all[place]->device : -1;
}

tw_status tw_device_count(int32_t kind, int32_t* count, char* message, size_t message_bytes) {
  return answer(tilewise::count(kind, count), message, message_bytes);
}

tw_status tw_device_describe(const tw_device* device, tw_device_facts* facts, char* message,
                             size_t message_bytes) {
  return answer(describe(device, facts), message, message_bytes);
}

tw_status tw_allocate(const tw_device* device, size_t bytes, void** memory, char* message,
                      size_t message_bytes) {
  return answer(allocate(device, bytes, memory), message, message_bytes);
}

tw_status tw_free(const tw_device* device, void* memory, char* message, size_t message_bytes) {
  return answer(release(device, memory), message, message_bytes);
}

// The ABI fixes the parameters.
// NOLINTNEXTLINE(readability-function-size)
tw_status tw_copy(const tw_device* device, void* to, const void* from, size_t bytes, void* stream,
                  char* message, size_t message_bytes) {
  return answer(copy(device, {to, from, bytes}, stream), message, message_bytes);
}

tw_status tw_synchronize(const tw_device* device, void* stream, char* message,
                         size_t message_bytes) {
  return answer(synchronize(device, stream), message, message_bytes);
}
