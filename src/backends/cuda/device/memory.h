// Words for memory: the block's own, and the error word that all blocks share.
#pragma once

#include "backends/cuda/device/thread.h"

#if defined(TW_ON_DEVICE)
extern __shared__ __align__(16) unsigned char tilewise_shared_memory[];
#endif

namespace tilewise::cuda {

// The block's shared memory as a T. The launch asks for sizeof(T) bytes, and they hold anything.
template <class T>
TW_DEVICE T& shared_memory() {
  static_assert(sizeof(T) <= 48 * 1024, "more has to be asked of the driver for each kernel");
#if defined(TW_ON_DEVICE)
  return *reinterpret_cast<T*>(tilewise_shared_memory);
#else
  return *static_cast<T*>(emulated::shared_memory());
#endif
}

// Sets bits of a word that other blocks set bits of.
TW_DEVICE void atomic_or(uint32* word, uint32 bits) {
#if defined(TW_ON_DEVICE)
  atomicOr(word, bits);
#else
  __atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
#endif
}

}  // namespace tilewise::cuda
