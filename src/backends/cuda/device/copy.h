// Words for copies from global to shared memory that are under way while the thread goes on. Each
// has 16 bytes, and both of its ends are aligned to as many.
#pragma once

#include "backends/cuda/device/memory.h"

namespace tilewise::cuda {

// Begins a copy. Until the thread has waited for it, nobody may read what is at `to`, nor write it;
// and other threads see it after a barrier behind that.
TW_DEVICE void copy_later(SharedAddress to, const uint8* from) {
#if defined(TW_ON_DEVICE)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to.byte), "l"(from));
#else
  emulated::copy_later(to.byte, from, 16);
#endif
}

// The same, or zeros where nothing `exists`: then nothing is read.
TW_DEVICE void copy_or_zeros_later(SharedAddress to, const uint8* from, bool exists) {
#if defined(TW_ON_DEVICE)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to.byte), "l"(from),
               "r"(exists ? 16 : 0));
#else
  emulated::copy_later(to.byte, from, exists ? 16 : 0);
#endif
}

// The same of the first `bytes` of 16, which may be none; the others become zeros.
TW_DEVICE void copy_part_later(SharedAddress to, const uint8* from, int32 bytes) {
#if defined(TW_ON_DEVICE)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to.byte), "l"(from),
               "r"(bytes));
#else
  emulated::copy_later(to.byte, from, bytes);
#endif
}

// Brings what is read soon closer: the 128 bytes around `from`, which exist.
TW_DEVICE void read_soon(const uint8* from) {
#if defined(TW_ON_DEVICE)
  asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
#else
  static_cast<void>(from);
#endif
}

// What the thread has begun since it last did this becomes a group.
TW_DEVICE void commit_copies() {
#if defined(TW_ON_DEVICE)
  asm volatile("cp.async.commit_group;");
#else
  emulated::commit_copies();
#endif
}

// Returns when all of the thread's groups but the last `groups` have landed.
template <int32 groups>
TW_DEVICE void wait_for_copies() {
#if defined(TW_ON_DEVICE)
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
#else
  emulated::wait_for_copies(groups);
#endif
}

}  // namespace tilewise::cuda
