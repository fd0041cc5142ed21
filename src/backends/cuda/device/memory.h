// Shared memory of a block, and the error word that all blocks share.
#pragma once

#include "backends/cuda/device/thread.h"

#if defined(TW_ON_DEVICE)
extern __shared__ __align__(128) unsigned char tilewise_shared_memory[];
#endif

namespace tilewise::cuda {

// The shared memory that a block can have on every GPU that these kernels support. To give a kernel
// more than 48 KiB, the host must ask the driver when the kernel is loaded.
inline constexpr int32 kMostSharedBytes = 99 * 1024;

// The block's dynamic shared memory as a T, uninitialised. The launch must ask for sizeof(T) bytes.
// Kernels for GPUs with more shared memory pass their own limit.
template <class T, int32 most = kMostSharedBytes>
TW_DEVICE T& shared_memory() {
  static_assert(sizeof(T) <= most, "the GPUs that run the kernel have no more");
  static_assert(alignof(T) <= 128, "no more is promised for where shared memory begins");
#if defined(TW_ON_DEVICE)
  return *reinterpret_cast<T*>(tilewise_shared_memory);
#else
  return *static_cast<T*>(emulated::shared_memory());
#endif
}

// A byte address in the block's shared memory, in the 32-bit form that instructions take.
struct SharedAddress {
  uint32 byte;

  TW_DEVICE SharedAddress operator+(int32 bytes) const {
    return {byte + static_cast<uint32>(bytes)};
  }
  // Flips bits of the address: moves within an aligned block.
  TW_DEVICE SharedAddress operator^(int32 bits) const { return {byte ^ static_cast<uint32>(bits)}; }
};

// `place` must be in shared memory.
TW_DEVICE SharedAddress shared_address(const void* place) {
#if defined(TW_ON_DEVICE)
  return {static_cast<uint32>(__cvta_generic_to_shared(place))};
#else
  const auto* begin = static_cast<const uint8*>(emulated::shared_memory());
  return {static_cast<uint32>(static_cast<const uint8*>(place) - begin)};
#endif
}

// Hides the address's origin from the compiler, so that it stays in a register and is not
// recomputed.
TW_DEVICE SharedAddress kept(SharedAddress place) {
#if defined(TW_ON_DEVICE)
  asm volatile("" : "+r"(place.byte));
#endif
  return place;
}
TW_DEVICE uint32 kept(uint32 number) {
#if defined(TW_ON_DEVICE)
  asm volatile("" : "+r"(number));
#endif
  return number;
}
TW_DEVICE const uint8* kept(const uint8* place) {
#if defined(TW_ON_DEVICE)
  asm volatile("" : "+l"(place));
#endif
  return place;
}

// The full 64-bit product of two 32-bit numbers, by one instruction. Of int64{a} * b a compiler may
// make a 64-bit multiplication, which takes several.
TW_DEVICE int64 wide_product(int32 a, int32 b) {
#if defined(TW_ON_DEVICE)
  int64 product;
  asm("mul.wide.s32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
  return product;
#else
  return int64{a} * b;
#endif
}

// Sets bits of a word that other blocks set bits of, too.
TW_DEVICE void atomic_or(uint32* word, uint32 bits) {
#if defined(TW_ON_DEVICE)
  atomicOr(word, bits);
#else
  __atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
#endif
}

}  // namespace tilewise::cuda
