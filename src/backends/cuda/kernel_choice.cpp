#include "backends/cuda/kernel_choice.h"

#include <cstring>

#include "plan/settings.h"

namespace tilewise::cuda {

Status check_kernels_setting() {
  const Settings wanted = settings();
  if (!*wanted.cuda_kernels || std::strcmp(wanted.cuda_kernels, "plain") == 0) return {};
  return invalid(
      "TILEWISE_CUDA_KERNELS is '%.64s', which names no kernels: use plain, or leave it unset.",
      wanted.cuda_kernels);
}

KernelChoice choose_kernels(const Asked& asked, const Gpu& gpu) {
  const auto* attention = std::get_if<const Problem*>(&asked);
  if (!attention) return {"no attention", {}, {}};
  const Problem& problem = **attention;
  const bool is_backward = problem.operation == TW_BACKWARD;
  const char* lacks = is_backward ? why_not_sm80_backward(problem, gpu.shared_bytes)
                                  : why_not_sm80_forward(problem);
  if (!lacks && *settings().cuda_kernels) lacks = "TILEWISE_CUDA_KERNELS";
  if (lacks) return {lacks, {}, {}};
  if (is_backward) return {nullptr, {}, sm80_backward(problem, gpu.shared_bytes)};
  return {nullptr, sm80_forward(problem, gpu.processors), {}};
}

}  // namespace tilewise::cuda
