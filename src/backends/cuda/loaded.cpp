#include "backends/cuda/loaded.h"

#include <atomic>
#include <new>
#include <vector>

#include "backends/cuda/compiler/find.h"
#include "backends/cuda/compiler/stock.h"
#include "backends/cuda/kernel_choice.h"

namespace tilewise::cuda {
namespace {

std::atomic<Kernel> kernels[Device::kMost][kAllVariants];

// The availability of featured kernels.
enum class Availability : unsigned char { kUnknown, kAvailable, kMissing };
std::atomic<Availability> availability[Device::kMost][kMostFeatured];

std::atomic<Availability>& availability_of(const Device& device, int index) {
  return availability[device.index()][index - kVariants];
}

std::atomic<Kernel>& place_of_kernel(const Device& device, int index) {
  return kernels[device.index()][index];
}

Target target_of(const Device& device) {
  return {.major = device.architecture() / 10,
          .minor = device.architecture() % 10,
          .arch_specific = false,
          .driver_version = device.calls().version};
}

std::vector<int> missing_of(const Device& device, std::span<const int> indices) {
  std::vector<int> missing;
  for (const int index : indices)
    if (!loaded(device, index)) missing.push_back(index);
  return missing;
}

std::vector<const Variant*> variants_of(std::span<const int> indices) {
  std::vector<const Variant*> variants;
  for (const int index : indices) variants.push_back(&variant_at(index));
  return variants;
}

Status load(Device& device, int index, const Cubin& cubin) {
  const Variant& variant = variant_at(index);
  Kernel kernel = nullptr;
  TW_TRY(device.load(cubin.bytes.data(), variant.name,
                     static_cast<unsigned>(variant.dynamic_shared_bytes), kernel));
  // If two threads load a kernel at once, the first one's is kept; both are valid.
  Kernel none = nullptr;
  place_of_kernel(device, index).compare_exchange_strong(none, kernel, std::memory_order_release);
  return {};
}

}  // namespace

Kernel loaded(const Device& device, int index) {
  return place_of_kernel(device, index).load(std::memory_order_acquire);
}

Status load(Device& device, std::span<const int> indices) {
  try {
    const std::vector<int> missing = missing_of(device, indices);
    const std::vector<const Variant*> variants = variants_of(missing);
    std::vector<Cubin> cubins(missing.size());
    TW_TRY(find_cubins(variants, target_of(device), surroundings(), cubins));
    for (std::size_t i = 0; i < missing.size(); ++i) TW_TRY(load(device, missing[i], cubins[i]));
    return {};
  } catch (const std::bad_alloc&) {
    return failed("There is no memory to load kernels.");
  }
}

bool can_have(const Device* device, int index) {
  if (!device) return false;
  if (loaded(*device, index)) return true;
  std::atomic<Availability>& state = availability_of(*device, index);
  if (state.load() != Availability::kUnknown) return state.load() == Availability::kAvailable;
  try {
    const Target target = target_of(*device);
    const Stock stock(surroundings(), target.driver_version);
    Cubin cubin;
    const bool has =
        stock.find(variant_at(index), target, cubin) || stock.why_not_compiled(target).empty();
    Availability unknown = Availability::kUnknown;
    state.compare_exchange_strong(unknown, has ? Availability::kAvailable : Availability::kMissing);
    return has;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void give_up(const Device& device, int index) {
  availability_of(device, index) = Availability::kMissing;
}

void describe_origin(const Device& device, std::span<const int> indices, Text& note) {
  try {
    const std::vector<const Variant*> variants = variants_of(missing_of(device, indices));
    const std::size_t there = indices.size() - variants.size();
    if (there > 0) note.add("%zu loaded%s", there, variants.empty() ? "" : "; ");
    if (variants.empty()) return;
    const Target target = target_of(device);
    std::string origin = Stock(surroundings(), target.driver_version).origin(variants, target);
    // Replaces line breaks, which folder names may contain, so that `explain` prints one line.
    for (char& each : origin)
      if (static_cast<unsigned char>(each) < ' ') each = '?';
    note.add("%s", origin.c_str());
  } catch (const std::bad_alloc&) {
    note.add("no memory to look for them");
  }
}

}  // namespace tilewise::cuda
