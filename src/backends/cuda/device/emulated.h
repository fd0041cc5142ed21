// What the host bodies of device/ ask for. tests/emulator alone defines these: there a kernel's own
// text runs on the processor, a block at a time, with a fiber for each thread. The library calls
// none of them.
#pragma once

#include "core/base.h"

namespace tilewise::cuda::emulated {

using core::int32;
using core::int64;
using core::uint64;

// Of the fiber that runs.
int32 thread_index();
int64 block_index();
int64 block_count();
void* shared_memory();

// Waits until all threads of the block have come here.
void block_barrier();
// Waits until all threads of the warp have come here; gives what `lane` brought.
uint64 exchange(uint64 brought, int32 lane);

}  // namespace tilewise::cuda::emulated
