#include "backends/cuda/loaded.h"

#include <atomic>

#include "backends/cuda/compiler/find.h"
#include "backends/cuda/kernel_choice.h"

namespace tilewise::cuda {
namespace {

std::atomic<Kernel> kernels[Device::kMost][kVariants];

std::atomic<Kernel>& place_of_kernel(const Device& device, int index) {
  return kernels[device.index()][index];
}

Target target_of(const Device& device) {
  return {.major = device.architecture() / 10,
          .minor = device.architecture() % 10,
          .arch_specific = false,
          .driver_version = device.calls().version};
}

}  // namespace

Kernel loaded(const Device& device, int index) {
  return place_of_kernel(device, index).load(std::memory_order_acquire);
}

Status load(Device& device, int index) {
  if (loaded(device, index)) return {};
  const Variant& variant = packed_variants()[static_cast<std::size_t>(index)];
  Cubin cubin;
  TW_TRY(find_cubin(variant, target_of(device), cubin));
  Kernel kernel = nullptr;
  TW_TRY(device.load(cubin.bytes.data(), variant.name,
                     static_cast<unsigned>(variant.dynamic_shared_bytes), kernel));
  // Of two threads that come at once the first one's stays; the other's is as good.
  Kernel none = nullptr;
  place_of_kernel(device, index).compare_exchange_strong(none, kernel, std::memory_order_release);
  return {};
}

}  // namespace tilewise::cuda
