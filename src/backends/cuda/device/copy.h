// Asynchronous copies from global to shared memory (cp.async). Each copies 16 bytes between
// addresses that are aligned to 16 bytes.
#pragma once

#include "backends/cuda/device/memory.h"

namespace tilewise::cuda {

// Starts a copy. Until the thread has waited for it, `to` may be neither read nor written. Other
// threads see the copy after a barrier that follows the wait.
TW_DEVICE void copy_later(SharedAddress to, const uint8* from) {
#if defined(TW_ON_DEVICE)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to.byte), "l"(from));
#else
  emulated::copy_later(to.byte, from, 16);
#endif
}

// Starts a copy like copy_later, but writes zeros and reads nothing if the source does not exist.
TW_DEVICE void copy_or_zeros_later(SharedAddress to, const uint8* from, bool exists) {
#if defined(TW_ON_DEVICE)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to.byte), "l"(from),
               "r"(exists ? 16 : 0));
#else
  emulated::copy_later(to.byte, from, exists ? 16 : 0);
#endif
}

// Starts a copy of the first `bytes` of 16, which may be none; the rest of `to` becomes zeros.
TW_DEVICE void copy_part_later(SharedAddress to, const uint8* from, int32 bytes) {
#if defined(TW_ON_DEVICE)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to.byte), "l"(from),
               "r"(bytes));
#else
  emulated::copy_later(to.byte, from, bytes);
#endif
}

// Prefetches the 128 bytes around `from` to the second-level cache. All of them must exist.
TW_DEVICE void prefetch(const uint8* from) {
#if defined(TW_ON_DEVICE)
  asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
#else
  static_cast<void>(from);
#endif
}

// Ends a group: all copies that the thread has started since its previous group.
TW_DEVICE void commit_copies() {
#if defined(TW_ON_DEVICE)
  asm volatile("cp.async.commit_group;");
#else
  emulated::commit_copies();
#endif
}

// Waits until all of the thread's groups but the latest `groups` have arrived.
template <int32 groups>
TW_DEVICE void wait_for_copies() {
#if defined(TW_ON_DEVICE)
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
#else
  emulated::wait_for_copies(groups);
#endif
}

}  // namespace tilewise::cuda
