// What the host bodies of device/ call. Only tests/emulator defines these: there a kernel's own
// source runs on the processor, block by block, with a fiber for each thread. The library calls
// none of them.
#pragma once

#include "core/base.h"

namespace tilewise::cuda::emulated {

using core::int32;
using core::int64;
using core::uint32;
using core::uint64;

int32 architecture();
// The index of the fiber that runs.
int32 thread_index();
int64 block_index();
int64 block_count();
void* shared_memory();

// Ends the run, because the thread has broken a rule of the device.
[[noreturn]] void refuse(const char* what);

// Waits until all threads of the block are here.
void block_barrier();
// Waits until all threads of the warp are here; returns what lane `lane` brought.
uint64 exchange(uint64 brought, int32 lane);
// Both wait for all threads of the warp. `any` returns whether any lane passed true.
bool any(bool says);
uint32 ballot(bool says);

// The bodies of device/matrix.h. All threads of the warp must reach the same call.
void load_matrices(uint32 row, bool transposed, uint32 (&pairs)[4]);
struct Operands {
  bool is_bfloat16;
  const uint32 (&left)[4];
  uint32 right[2];
};
void multiply(float (&sums)[4], const Operands& operands);

// The bodies of device/copy.h. The target holds NaNs until its thread waits for the copy, so that
// no test relies on an early arrival. Of its 16 bytes, those after the first `bytes` become zeros.
void copy_later(uint32 to, const void* from, int32 bytes);
void commit_copies();
void wait_for_copies(int32 groups);

}  // namespace tilewise::cuda::emulated
