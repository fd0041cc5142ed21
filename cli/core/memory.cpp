#include "cli/core/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace tilewise::cli {

void* allocate_tensor(std::size_t bytes) {
  constexpr std::size_t kLine = 64, kLargePage = std::size_t{2} << 20;
  const bool is_large = bytes >= 2 * kLargePage;
  const std::size_t unit = is_large ? kLargePage : kLine;
  const std::size_t whole = (bytes + unit - 1) / unit * unit;
  void* memory = std::aligned_alloc(unit, whole);
  if (memory == nullptr) throw std::bad_alloc();
  // A failure does not matter: small pages serve too, somewhat slower.
  if (is_large) madvise(memory, whole, MADV_HUGEPAGE);
  return memory;
}

void release_tensor(void* memory) {
  std::free(memory);
}

}  // namespace tilewise::cli
