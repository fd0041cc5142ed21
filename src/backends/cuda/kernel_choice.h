// Which kernels a call launches, and in which order: those of one family.
#pragma once

#include <span>

#include "backends/cuda/featured.h"
#include "backends/cuda/plain_kernels.h"
#include "backends/cuda/sm80_backward.h"

namespace tilewise::cuda {

class Device;

// What a plan keeps of it.
struct KernelChoice {
  const char* why_plain = nullptr;  // what the kernels for tensor cores lack; null: they run it
  bool rows_decide = false;         // had it rows that begin elsewhere, they might
  Sm80Forward forward{};
  Sm80Backward backward{};  // of a backward call

  // Whether one of them has features compiled in, and its index.
  bool has_features() const {
    return !why_plain && (forward.features != 0 || backward.features != 0);
  }
  int featured_index() const;
};

// What of a device decides.
struct Gpu {
  int processors = 1;            // multiprocessors that share the work
  int shared_bytes = 99 * 1024;  // that a block can have
  int architecture = 90;         // for 9.0
  const Device* device = nullptr;
  // Whether a kernel with features compiled in can be had there, by its index. Null: none can.
  bool (*has)(const Device* device, int index) = nullptr;
};

// TILEWISE_CUDA_KERNELS=plain leaves the kernels for tensor cores out, and "packed" those that are
// compiled for a set of features; any other name is refused.
Status check_kernels_setting();

// The one place that decides: for a plan, and so for a call, `prepare` and what is said of both.
KernelChoice choose_kernels(const Asked& asked, const Gpu& gpu);

// The kernel that a call would have, did somebody compile it: the one that it has, too.
bool wants_featured(const Problem& problem, const Gpu& gpu, Featured& out);

// A kernel's index: its place among packed_variants(), which are the plain ones, then each row of
// forward's table in both types, then the merge, then those of backward.
constexpr int index_of(const Sm80Merge&) {
  return kPlainVariants + 2 * sm80::kVariantsOfForward;
}
inline constexpr int kForwardVariants = kPlainVariants + 2 * sm80::kVariantsOfForward + 1;
inline constexpr int kVariants = kForwardVariants + kBackwardKernels;

// Behind all of them come those with features compiled in. One without a place is no choice.
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

// May throw where there is no memory, the first time that it is asked for one with features.
inline const Variant& variant_at(int index) {
  if (is_featured(index)) return featured_variant(index - kVariants);
  return packed_variants()[static_cast<std::size_t>(index)];
}

template <class Choice>
const Variant& variant_of(const Choice& choice) {
  return variant_at(index_of(choice));
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
  if (choice.why_plain && !choice.rows_decide) return plain_workspace(asked);
  const Problem& problem = *std::get<const Problem*>(asked);
  if (problem.operation == TW_BACKWARD) return sm80_backward_workspace(problem, gpu.shared_bytes);
  if (!choice.forward.merges) return 0;
  Arena arena(nullptr);
  splits_of(problem, choice.forward, arena);
  return kAlignmentRoom + arena.used();
}

}  // namespace tilewise::cuda
