// Threads: their indices, barriers, and exchange within a warp. Each function has a body for the
// device and one for the host, where tests run kernels without a GPU.
#pragma once

#include "core/softmax.h"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define TW_DEVICE __device__ inline
#define TW_DEVICE_CONSTANT __device__ constexpr
#define TW_UNROLL _Pragma("unroll")
#define TW_UNROLL_4 _Pragma("unroll 4")
#define TW_ROLLED _Pragma("unroll 1")
#define TW_ON_DEVICE 1
#else
#include "backends/cuda/device/emulated.h"
#define TW_DEVICE inline
#define TW_DEVICE_CONSTANT inline
#define TW_UNROLL
#define TW_UNROLL_4
#define TW_ROLLED
#endif

namespace tilewise::cuda {

using core::int32;
using core::int64;
using core::uint16;
using core::uint32;
using core::uint64;
using core::uint8;

inline constexpr int32 kWarp = 32;  // threads of a warp

// The GPU's architecture: 90 for 9.0. It is a constant on the device. On the host tests choose it,
// so a branch on it cannot be `if constexpr`.
TW_DEVICE_CONSTANT int32 architecture() {
#if defined(TW_ON_DEVICE)
  return __CUDA_ARCH__ / 10;
#else
  return emulated::architecture();
#endif
}

// Whether it is sm_100 or a relative, as sm_103.
TW_DEVICE_CONSTANT bool is_sm10x() {
  return architecture() / 10 == 10;
}

// This thread's index in its block, which has one dimension.
TW_DEVICE int32 thread_index() {
#if defined(TW_ON_DEVICE)
  return static_cast<int32>(threadIdx.x);
#else
  return emulated::thread_index();
#endif
}

// thread_index(), read from the special register at each call, so that values derived from it need
// no registers between their uses. For kernels that have no registers to spare.
TW_DEVICE int32 thread_index_anew() {
#if defined(TW_ON_DEVICE)
  int32 index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
#else
  return emulated::thread_index();
#endif
}

TW_DEVICE int32 lane_index() {
  return thread_index() % kWarp;
}

TW_DEVICE int32 warp_index() {
  return thread_index() / kWarp;
}

// This block's index in the grid, which has one dimension.
TW_DEVICE int64 block_index() {
#if defined(TW_ON_DEVICE)
  return blockIdx.x;
#else
  return emulated::block_index();
#endif
}

TW_DEVICE int64 block_count() {
#if defined(TW_ON_DEVICE)
  return gridDim.x;
#else
  return emulated::block_count();
#endif
}

// Waits until every thread of the block is here. Then all of them see what any of them wrote before
// to shared or global memory.
TW_DEVICE void block_barrier() {
#if defined(TW_ON_DEVICE)
  __syncthreads();
#else
  emulated::block_barrier();
#endif
}

// block_barrier for the threads of a warp.
TW_DEVICE void warp_barrier() {
#if defined(TW_ON_DEVICE)
  __syncwarp();
#else
  emulated::exchange(0, 0);
#endif
}

// What the lane passed whose index is this lane's XOR `bits`. All lanes of the warp must take part.
template <class T>
TW_DEVICE T shuffle(T brought, int32 bits) {
#if defined(TW_ON_DEVICE)
  return __shfl_xor_sync(0xFFFFFFFFu, brought, bits);
#else
  using Bits = decltype([] {
    if constexpr (sizeof(T) == 4) return uint32{};
    if constexpr (sizeof(T) == 8) return uint64{};
  }());
  const uint64 found = emulated::exchange(__builtin_bit_cast(Bits, brought), lane_index() ^ bits);
  return __builtin_bit_cast(T, static_cast<Bits>(found));
#endif
}

// What the lane of that index passed; 32 bits. All lanes must take part.
template <class T>
TW_DEVICE T brought_by(int32 lane, T brought) {
#if defined(TW_ON_DEVICE)
  return __shfl_sync(0xFFFFFFFFu, brought, lane);
#else
  const uint64 found = emulated::exchange(__builtin_bit_cast(uint32, brought), lane);
  return __builtin_bit_cast(T, static_cast<uint32>(found));
#endif
}

// Whether any lane of the warp passed true (a vote). All lanes must take part.
TW_DEVICE bool warp_any(bool says) {
#if defined(TW_ON_DEVICE)
  return __any_sync(0xFFFFFFFFu, says);
#else
  return emulated::any(says);
#endif
}

// A bit mask: bit n is set if lane n passed true. All lanes must take part.
TW_DEVICE uint32 warp_ballot(bool says) {
#if defined(TW_ON_DEVICE)
  return __ballot_sync(0xFFFFFFFFu, says);
#else
  return emulated::ballot(says);
#endif
}

// The sum over the warp; the same bits in each lane.
template <class T>
TW_DEVICE T warp_sum(T number) {
  TW_UNROLL
  for (int32 bits = kWarp / 2; bits > 0; bits /= 2) number += shuffle(number, bits);
  return number;
}

// The maximum over the warp. NaN wins, as in core.
template <class T>
TW_DEVICE T warp_max(T number) {
  TW_UNROLL
  for (int32 bits = kWarp / 2; bits > 0; bits /= 2)
    number = core::running_max(number, shuffle(number, bits));
  return number;
}

// Calls body(task) for this block's part of `count` tasks, for any size of the grid.
template <class Body>
TW_DEVICE void for_each_task(int64 count, const Body& body) {
  for (int64 task = block_index(); task < count; task += block_count()) body(task);
}

}  // namespace tilewise::cuda
