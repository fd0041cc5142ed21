// Memory for tensors, aligned to a cache line. For a tensor of 4 MiB or more it is aligned to a
// page of 2 MiB, and the system is asked for such pages.
#pragma once

#include <cstddef>
#include <vector>

namespace tilewise::cli {

[[nodiscard]] void* allocate_tensor(std::size_t bytes);
void release_tensor(void* memory);

template <class T>
struct TensorAllocator {
  using value_type = T;
  TensorAllocator() = default;
  template <class U>
  explicit TensorAllocator(const TensorAllocator<U>&) {}

  T* allocate(std::size_t count) { return static_cast<T*>(allocate_tensor(count * sizeof(T))); }
  void deallocate(T* memory, std::size_t) { release_tensor(memory); }
  bool operator==(const TensorAllocator&) const { return true; }
};

template <class T>
using TensorVector = std::vector<T, TensorAllocator<T>>;

}  // namespace tilewise::cli
