// Which kernels a call launches, and in which order: those of one family.
#pragma once

#include <span>

#include "backends/cuda/plain_kernels.h"
#include "backends/cuda/sm80_backward.h"

namespace tilewise::cuda {

// What a plan keeps of it.
struct KernelChoice {
  const char* why_plain = nullptr;  // what the kernels for tensor cores lack; null: they run it
  Sm80Forward forward;
  Sm80Backward backward;  // of a backward call
};

// What of a device decides.
struct Gpu {
  int processors = 1;            // multiprocessors that share the work
  int shared_bytes = 99 * 1024;  // that a block can have
};

// TILEWISE_CUDA_KERNELS=plain leaves the kernels for tensor cores out; any other name is refused.
Status check_kernels_setting();
KernelChoice choose_kernels(const Asked& asked, const Gpu& gpu);

// A kernel's place among packed_variants(): the plain ones, then each row of forward's table in
// both types, then the merge, then those of backward.
constexpr int index_of(const Sm80Forward& choice) {
  return kPlainVariants + 2 * choice.number + (choice.is_bfloat16 ? 1 : 0);
}
constexpr int index_of(const Sm80Merge&) {
  return kPlainVariants + 2 * sm80::kVariantsOfForward;
}
inline constexpr int kForwardVariants = kPlainVariants + 2 * sm80::kVariantsOfForward + 1;
constexpr int index_of(const Sm80Backward& choice) {
  return kForwardVariants + number_of(choice);
}
inline constexpr int kVariants = kForwardVariants + kBackwardKernels;

template <class Choice>
const Variant& variant_of(const Choice& choice) {
  return packed_variants()[static_cast<std::size_t>(index_of(choice))];
}

// What the kernels of a call work with. Without memory, `launch` may launch nothing.
struct Room {
  std::byte* workspace = nullptr;
  core::uint32* error = nullptr;
  Gpu gpu;
};

// launch(choice, arguments, tasks) for each kernel of a call, until one is refused; its answer.
template <class Launch>
Status run_call(const Asked& asked, const KernelChoice& choice, const Room& room,
                const Launch& launch) {
  if (choice.why_plain) return run_plain(asked, room.workspace, room.error, launch);
  const Problem& problem = *std::get<const Problem*>(asked);
  if (problem.operation == TW_BACKWARD)
    return run_sm80_backward(problem, choice.backward,
                             {room.workspace, room.error, room.gpu.processors}, launch);
  const Sm80Forward& forward = choice.forward;
  sm80::Forward p = sm80_arguments_of(problem, forward, room.error, room.gpu.processors);
  Arena arena(aligned(room.workspace));
  p.splits = splits_of(problem, forward, arena);
  TW_TRY(launch(forward, p, sm80::forward_tasks(p, forward.size().rows)));
  return forward.merges ? launch(Sm80Merge{}, p, sm80::merge_tasks(p)) : Status{};
}

// Bytes that a call takes.
inline int64 workspace_of(const Asked& asked, const KernelChoice& choice, const Gpu& gpu) {
  if (choice.why_plain && choice.why_plain != kNoRoomForFeatures) return plain_workspace(asked);
  const Problem& problem = *std::get<const Problem*>(asked);
  if (problem.operation == TW_BACKWARD) return sm80_backward_workspace(problem, gpu.shared_bytes);
  if (!choice.forward.merges) return 0;
  Arena arena(nullptr);
  splits_of(problem, choice.forward, arena);
  return kAlignmentRoom + arena.used();
}

}  // namespace tilewise::cuda
