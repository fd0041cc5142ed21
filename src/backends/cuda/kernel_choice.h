// Decides which kernels a call launches, and in which order: either plain ones or tensor-core ones.
#pragma once

#include <span>

#include "backends/cuda/featured.h"
#include "backends/cuda/plain_kernels.h"
#include "backends/cuda/sm80_backward.h"

namespace tilewise::cuda {

class Device;

// Stored in a plan.
struct KernelChoice {
  const char* why_plain = nullptr;  // why tensor cores cannot run it; null if they can
  bool rows_decide = false;         // with other alignment of rows, they might
  Sm80Forward forward{};
  Sm80Backward backward{};  // for a backward call

  // Whether one of the kernels is featured, and the index of that kernel.
  bool has_features() const {
    return !why_plain && (forward.features != 0 || backward.features != 0);
  }
  int featured_index() const;
};

// Properties of the device that the choice depends on.
struct Gpu {
  int processors = 1;            // number of multiprocessors
  int shared_bytes = 99 * 1024;  // available to a block
  int architecture = 90;         // 90 is compute capability 9.0
  const Device* device = nullptr;
  // Whether the featured kernel of this index is available. Null: none is.
  bool (*has)(const Device* device, int index) = nullptr;
};

// Checks TILEWISE_CUDA_KERNELS: "plain" excludes the tensor-core kernels, and "packed" excludes the
// featured ones. Any other name fails.
Status check_kernels_setting();

// The only place that chooses kernels: for plans, and so for calls, `prepare` and `explain`.
KernelChoice choose_kernels(const Asked& asked, const Gpu& gpu);

// The featured kernel that the call would use if it were available, or that the call uses.
bool wants_featured(const Problem& problem, const Gpu& gpu, Featured& out);

// A kernel's index in packed_variants(), which has in this order: the plain kernels, the first
// kVariantsOfForward rows of sm80::kTable in both dtypes, the merge, and the kernels of backward.
constexpr int index_of(const Sm80Merge&) {
  return kPlainVariants + 2 * sm80::kVariantsOfForward;
}
inline constexpr int kForwardVariants = kPlainVariants + 2 * sm80::kVariantsOfForward + 1;
inline constexpr int kVariants = kForwardVariants + kBackwardKernels;

// The indices of featured kernels follow. The index is -1 if place_of has no room for another.
inline constexpr int kAllVariants = kVariants + kMostFeatured;
inline int index_of(const Featured& featured) {
  const int place = place_of(featured);
  return place < 0 ? -1 : kVariants + place;
}
inline int index_of(const Sm80Forward& choice) {
  if (choice.features != 0)
    return index_of(
        Featured{FeaturedFamily::kForward, choice.is_bfloat16, choice.number, choice.features});
  return kPlainVariants + 2 * choice.number + (choice.is_bfloat16 ? 1 : 0);
}
inline int index_of(const Sm80Backward& choice) {
  if (choice.features != 0 && choice.step == BackwardStep::kTiles)
    return index_of(
        Featured{FeaturedFamily::kBackward, choice.is_bfloat16, choice.number, choice.features});
  return kForwardVariants + number_of(choice);
}
inline int KernelChoice::featured_index() const {
  return backward.features != 0 ? index_of(backward) : index_of(forward);
}
inline bool is_featured(int index) {
  return index >= kVariants;
}

// Throws if the first use of a featured kernel is short of memory.
inline const Variant& variant_at(int index) {
  if (is_featured(index)) return featured_variant(index - kVariants);
  return packed_variants()[static_cast<std::size_t>(index)];
}

template <class Choice>
const Variant& variant_of(const Choice& choice) {
  return variant_at(index_of(choice));
}

// What a call's kernels work with. If its memory does not exist yet, `launch` must launch nothing.
struct Room {
  std::byte* workspace = nullptr;
  core::uint32* error = nullptr;
  Gpu gpu;
};

// Calls launch(choice, arguments, tasks) for each kernel of a call, and returns the first failure.
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

// Bytes of the call's workspace.
inline int64 workspace_of(const Asked& asked, const KernelChoice& choice, const Gpu& gpu) {
  if (choice.why_plain && !choice.rows_decide) return plain_workspace(asked);
  const Problem& problem = *std::get<const Problem*>(asked);
  if (problem.operation == TW_BACKWARD) return sm80_backward_workspace(problem, gpu.shared_bytes);
  if (!choice.forward.merges) return 0;
  Arena arena(nullptr);
  splits_of(problem, choice.forward, arena);
  return kAlignmentRoom + arena.used();
}

}  // namespace tilewise::cuda
