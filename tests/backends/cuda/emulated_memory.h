// The memory of the GPU that emulated_cuda.cpp plays.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <iterator>
#include <map>
#include <mutex>

#include "backends/cuda/driver/calls.h"

namespace tilewise::cuda {

// The device's memory: pages of its own for each allocation, closed unless the device works.
class Memory {
 public:
  Result allocate(Address* address, std::size_t bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t whole = (bytes + page - 1) / page * page;
    void* pages = mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == 0) return kInvalidValue;
    if (pages == MAP_FAILED) return kOutOfMemory;
    const std::lock_guard lock(mutex_);
    blocks_[pages] = whole;
    *address = reinterpret_cast<Address>(pages);
    return kOk;
  }

  Result free(Address address) {
    const std::lock_guard lock(mutex_);
    const auto block = blocks_.find(reinterpret_cast<void*>(address));
    if (block == blocks_.end()) return kInvalidValue;
    munmap(block->first, block->second);
    blocks_.erase(block);
    return kOk;
  }

  // Memory of the host that the device is shown.
  void show(void* pages, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    shown_[pages] = bytes;
  }
  void hide(void* pages) {
    const std::lock_guard lock(mutex_);
    shown_.erase(pages);
  }

  // What the driver calls the kind of an address; 0 of one that it does not know.
  int kind_of(Address address) {
    const std::lock_guard lock(mutex_);
    return holds(blocks_, address) ? kDeviceMemory : holds(shown_, address) ? kHostMemory : 0;
  }

  // Opens the device's memory while `work` runs. One work runs at a time.
  template <class Work>
  Result open_for(const Work& work) {
    const std::lock_guard lock(mutex_);
    protect(PROT_READ | PROT_WRITE);
    const Result result = work();
    protect(PROT_NONE);
    return result;
  }

 private:
  using Blocks = std::map<void*, std::size_t>;

  static bool holds(const Blocks& blocks, Address address) {
    const auto behind = blocks.upper_bound(reinterpret_cast<void*>(address));
    if (behind == blocks.begin()) return false;
    const auto block = std::prev(behind);
    return address < reinterpret_cast<Address>(block->first) + block->second;
  }

  void protect(int how) {
    for (const auto& [pages, bytes] : blocks_) mprotect(pages, bytes, how);
  }

  std::mutex mutex_;
  Blocks blocks_, shown_;
};

}  // namespace tilewise::cuda
