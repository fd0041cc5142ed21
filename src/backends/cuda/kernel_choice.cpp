#include "backends/cuda/kernel_choice.h"

#include <cstring>

#include "plan/settings.h"

namespace tilewise::cuda {

Status check_kernels_setting() {
  const Settings wanted = settings();
  for (const char* known : {"", "plain", "packed"})
    if (std::strcmp(wanted.cuda_kernels, known) == 0) return {};
  return invalid(
      "TILEWISE_CUDA_KERNELS is '%.64s', which names no kernels: use plain or packed, or leave it "
      "unset.",
      wanted.cuda_kernels);
}

bool wants_featured(const Problem& problem, const Gpu& gpu, Featured& out) {
  if (problem.operation == TW_BACKWARD)
    return sm80_featured_backward(problem, gpu.shared_bytes, out);
  if (problem.operation != TW_FORWARD) return false;
  const Sm80Forward forward = sm80_forward(problem, gpu.processors, gpu.architecture);
  return sm80_featured(problem, forward, gpu.shared_bytes, out);
}

KernelChoice choose_kernels(const Asked& asked, const Gpu& gpu) {
  const auto* attention = std::get_if<const Problem*>(&asked);
  if (!attention) return {.why_plain = "no attention"};
  const Problem& problem = **attention;
  const bool is_backward = problem.operation == TW_BACKWARD;
  BackwardLack lack = is_backward ? why_not_sm80_backward(problem, gpu.shared_bytes)
                                  : BackwardLack{why_not_sm80_forward(problem)};
  const Settings set = settings();
  if (std::strcmp(set.cuda_kernels, "plain") == 0)
    lack = {lack.what ? lack.what : "TILEWISE_CUDA_KERNELS", false};
  if (lack.what) return {.why_plain = lack.what, .rows_decide = lack.is_of_rows};
  KernelChoice choice;
  if (is_backward)
    choice.backward = sm80_backward(problem, gpu.shared_bytes, gpu.processors);
  else
    choice.forward = sm80_forward(problem, gpu.processors, gpu.architecture);
  Featured featured;
  if (*set.cuda_kernels || !gpu.has || !wants_featured(problem, gpu, featured)) return choice;
  const int index = index_of(featured);
  if (index < 0 || !gpu.has(gpu.device, index)) return choice;
  (is_backward ? choice.backward.number : choice.forward.number) = featured.number;
  (is_backward ? choice.backward.features : choice.forward.features) = featured.features;
  return choice;
}

}  // namespace tilewise::cuda
