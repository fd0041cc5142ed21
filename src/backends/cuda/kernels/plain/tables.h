// Copies tables from the host to the device inside a kernel's arguments, which the driver copies at
// launch. So no call waits, the host's memory can be reused at once, and a captured graph replays
// the values of its capture.
#pragma once

#include "backends/cuda/device/thread.h"
#include "backends/cuda/kernels/plain/launch.h"

namespace tilewise::cuda {

// Chosen so that the arguments fit into the 4 KiB that every driver accepts.
inline constexpr int32 kTableWords = 508;

// Words of one or several tables, side by side.
struct Tables {
  core::uint64* to;
  int64 count;  // of the words below
  core::uint64 words[kTableWords];
};
static_assert(sizeof(Tables) <= 4096);

namespace plain {

// Launched with one block.
TW_DEVICE void tables(const Tables& p) {
  for (int64 n = thread_index(); n < p.count; n += kThreads) p.to[n] = p.words[n];
}

}  // namespace plain

}  // namespace tilewise::cuda
