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

KernelChoice choose_kernels(const Asked& asked, int processors) {
  const auto* attention = std::get_if<const Problem*>(&asked);
  if (!attention) return {"no attention", {}};
  const char* lacks = why_not_sm80(**attention);
  if (!lacks && *settings().cuda_kernels) lacks = "TILEWISE_CUDA_KERNELS";
  if (lacks) return {lacks, {}};
  return {nullptr, sm80_forward(**attention, processors)};
}

}  // namespace tilewise::cuda
