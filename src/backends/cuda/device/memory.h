// Words for memory: the block's own, and the error word that all blocks share.
#pragma once

#include "backends/cuda/device/thread.h"

#if defined(TW_ON_DEVICE)
extern __shared__ __align__(128) unsigned char tilewise_shared_memory[];
#endif

namespace tilewise::cuda {

// What a block can have on every GPU that runs these kernels. Beyond 48 KiB the driver is asked for
// each kernel, when that is loaded.
inline constexpr int32 kMostSharedBytes = 99 * 1024;

// The block's shared memory as a T. The launch asks for sizeof(T) bytes, and they hold anything.
// Kernels that not every GPU runs say how much theirs have.
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

// A byte of the block's shared memory, by the number that instructions take.
struct SharedAddress {
  uint32 byte;

  TW_DEVICE SharedAddress operator+(int32 bytes) const {
    return {byte + static_cast<uint32>(bytes)};
  }
  // Flips bits of the number: moves inside of an aligned block.
  TW_DEVICE SharedAddress operator^(int32 bits) const { return {byte ^ static_cast<uint32>(bits)}; }
};

// `place` lies in shared memory.
TW_DEVICE SharedAddress shared_address(const void* place) {
#if defined(TW_ON_DEVICE)
  return {static_cast<uint32>(__cvta_generic_to_shared(place))};
#else
  const auto* begin = static_cast<const uint8*>(emulated::shared_memory());
  return {static_cast<uint32>(static_cast<const uint8*>(place) - begin)};
#endif
}

// The same place, as a number that stays in a register: the compiler cannot work it out anew.
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

// Of two numbers of 32 bits, whole. Said apart, for a compiler that has widened one of them long
// before multiplies 64 bits.
TW_DEVICE int64 wide_product(int32 a, int32 b) {
#if defined(TW_ON_DEVICE)
  int64 product;
  asm("mul.wide.s32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
  return product;
#else
  return int64{a} * b;
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
