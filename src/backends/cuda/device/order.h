// Memory that several blocks add to, and blocks that wait for each other.
#pragma once

#include "backends/cuda/device/memory.h"

namespace tilewise::cuda {

// Whether one instruction can add four numbers.
TW_DEVICE_CONSTANT bool adds_four() {
  return architecture() >= 90;
}

// *to += number, atomically. The order in which blocks add is undefined.
TW_DEVICE void add_to(float* to, float number) {
#if defined(TW_ON_DEVICE)
  asm volatile("red.global.add.f32 [%0], %1;" ::"l"(to), "f"(number) : "memory");
#else
  *to += number;
#endif
}

// Adds numbers[n] to to[n], each atomically. `to` is aligned to 16 bytes.
TW_DEVICE void add_four_to(float* to, const float (&numbers)[4]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(numbers[0]),
               "f"(numbers[1]), "f"(numbers[2]), "f"(numbers[3])
               : "memory");
#else
  for (int32 i = 0; i < 4; ++i) add_to(to + i, numbers[i]);
#endif
}

// Waits until the word equals `number`. Then the thread sees all that was written by the blocks
// that incremented it.
TW_DEVICE void wait_for_count(const int32* word, int32 number) {
#if defined(TW_ON_DEVICE)
  int32 seen;
  do {
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(seen) : "l"(word) : "memory");
  } while (seen != number);
#else
  // On the host, blocks run one after the other.
  if (*word != number) emulated::refuse("a block waits for one that comes later");
#endif
}

// Increments the word, after everything that the thread wrote or saw written.
TW_DEVICE void count_up(int32* word) {
#if defined(TW_ON_DEVICE)
  asm volatile("red.release.gpu.global.add.s32 [%0], 1;" ::"l"(word) : "memory");
#else
  ++*word;
#endif
}

}  // namespace tilewise::cuda
