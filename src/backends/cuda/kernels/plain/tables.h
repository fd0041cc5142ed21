// Tables that lay on the host, on their way to the device: they travel among a kernel's arguments,
// which are copied when it is launched. So nothing waits, the host's memory is free at once, and a
// graph replays what was there when it was captured.
#pragma once

#include "backends/cuda/device/thread.h"
#include "backends/cuda/kernels/plain/launch.h"

namespace tilewise::cuda {

// So many words that the arguments fit into the 4 KiB that every driver takes.
inline constexpr int32 kTableWords = 508;

// Words of one table or of several, side by side.
struct Tables {
  core::uint64* to;
  int64 count;  // of the words below
  core::uint64 words[kTableWords];
};
static_assert(sizeof(Tables) <= 4096);

namespace plain {

// One block.
TW_DEVICE void tables(const Tables& p) {
  for (int64 n = thread_index(); n < p.count; n += kThreads) p.to[n] = p.words[n];
}

}  // namespace plain

}  // namespace tilewise::cuda
