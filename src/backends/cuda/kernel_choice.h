// Which kernels a call launches, and in which order: those of one family.
#pragma once

#include <span>

#include "backends/cuda/plain_kernels.h"
#include "backends/cuda/simple_kernel.h"

namespace tilewise::cuda {

// What a plan keeps of it.
struct KernelChoice {
  const char* why_plain = nullptr;  // what the simple kernel lacks; null: it runs the call
  SimpleChoice simple;
};

// TILEWISE_CUDA_KERNELS=plain leaves the simple kernel out; any other name is refused.
Status check_kernels_setting();
KernelChoice choose_kernels(const Asked& asked);

// A kernel's place among packed_variants().
constexpr int index_of(const SimpleChoice& choice) {
  return kPlainVariants + 2 * choice.dim_number + (choice.is_bfloat16 ? 1 : 0);
}
inline constexpr int kVariants = kPlainVariants + 2 * static_cast<int>(std::size(kSimpleDims));

template <class Choice>
const Variant& variant_of(const Choice& choice) {
  return packed_variants()[static_cast<std::size_t>(index_of(choice))];
}

// What the kernels of a call work with. Without memory, `launch` may launch nothing.
struct Room {
  std::byte* workspace = nullptr;
  core::uint32* error = nullptr;
  int processors = 1;
};

// launch(choice, arguments, tasks) for each kernel of a call, until one is refused; its answer.
template <class Launch>
Status run_call(const Asked& asked, const KernelChoice& choice, const Room& room,
                const Launch& launch) {
  if (choice.why_plain) return run_plain(asked, room.workspace, room.error, launch);
  const Problem& problem = *std::get<const Problem*>(asked);
  const simple::Forward p = simple_forward_of(problem, room.error, room.processors);
  return launch(choice.simple, p, simple::forward_tasks(p.shape));
}

// Bytes that a call takes.
inline int64 workspace_of(const Asked& asked, const KernelChoice& choice) {
  return choice.why_plain ? plain_workspace(asked) : 0;
}

}  // namespace tilewise::cuda
