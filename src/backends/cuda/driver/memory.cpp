#include "backends/cuda/driver/memory.h"

#include <algorithm>
#include <cstdio>

#include "backends/cuda/driver/device.h"

namespace tilewise::cuda {
namespace {

Address address_of(const void* memory) {
  return reinterpret_cast<Address>(memory);
}

// One answer for every reason that keeps a device from being used.
Status unusable(Status why) {
  if (why.code == TW_FAILED) why.code = TW_UNSUPPORTED;
  return why;
}

// If no device is usable, returns why device 0 is not; it is asked even if the driver counts none.
Status count_usable(int& count) {
  const Calls* calls = nullptr;
  TW_TRY(open_driver(calls));
  TW_CUDA(*calls, device_count(&count), "counting the devices");
  Status first;
  for (int index = 0; index == 0 || index < count; ++index) {
    tw_device_facts facts{};
    const Status status = Device::describe(index, facts);
    if (status.ok()) return {};
    if (index == 0) first = status;
  }
  return first;
}

Status count(int& count) {
  return unusable(count_usable(count));
}

Status describe(int index, tw_device_facts& facts) {
  return unusable(Device::describe(index, facts));
}

Status allocate(int index, std::size_t bytes, void*& memory) {
  Device* device = nullptr;
  TW_TRY(Device::find(index, device));
  const Current current(*device);
  TW_TRY(current.status());
  const Relaxed relaxed(device->calls());
  char doing[64];
  std::snprintf(doing, sizeof doing, "allocating %zu bytes on the device", bytes);
  Address address = 0;
  TW_CUDA(device->calls(), memory_allocate(&address, std::max<std::size_t>(bytes, 1)), doing);
  memory = reinterpret_cast<void*>(address);
  return {};
}

Status release(int index, void* memory) {
  Device* device = nullptr;
  TW_TRY(Device::find(index, device));
  const Current current(*device);
  TW_TRY(current.status());
  const Relaxed relaxed(device->calls());
  TW_CUDA(device->calls(), memory_free(address_of(memory)), "freeing memory of the device");
  Device::forget_places_of_all();
  return {};
}

// The driver knows for each address which device it belongs to.
Status copy(int index, void* to, const void* from, std::size_t bytes, void* stream) {
  Device* device = nullptr;
  TW_TRY(Device::find(index, device));
  const auto its = static_cast<Stream>(stream);
  const Current current(*device);
  TW_TRY(current.status());
  TW_TRY(device->check_stream(its));
  TW_CUDA(device->calls(), memory_copy(address_of(to), address_of(from), bytes, its),
          "copying memory of the device");
  return {};
}

Status synchronize(int index, void* stream) {
  Device* device = nullptr;
  TW_TRY(Device::find(index, device));
  const auto its = static_cast<Stream>(stream);
  const Current current(*device);
  TW_TRY(current.status());
  TW_TRY(device->check_stream(its));
  bool captures = false;
  TW_TRY(device->is_capturing(its, captures));
  if (captures)
    return invalid(
        "the stream is captured, and to wait for it would spoil that: end the capture, and wait "
        "for a replay.");
  return device->wait(its);
}

}  // namespace

const DeviceCalls kDeviceCalls{.count = count,
                               .describe = describe,
                               .allocate = allocate,
                               .release = release,
                               .copy = copy,
                               .synchronize = synchronize};

}  // namespace tilewise::cuda
