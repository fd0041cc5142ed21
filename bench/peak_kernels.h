// Loops of nothing but multiply-adds in registers, to measure what a processor can do at most.
#pragma once

#include <cstdint>
#include <vector>

namespace tilewise::cli {

struct PeakKernel {
  const char* name;
  void (*run)(std::int64_t rounds);
  double operations;  // of one round on one thread, a multiply-add being two
};

// The loops that this processor can run; empty if it lacks the instructions.
[[nodiscard]] std::vector<PeakKernel> float32_kernels();
[[nodiscard]] std::vector<PeakKernel> float64_kernels();
[[nodiscard]] std::vector<PeakKernel> bfloat16_dot_kernels();   // VDPBF16PS
[[nodiscard]] std::vector<PeakKernel> bfloat16_tile_kernels();  // TDPBF16PS, of AMX

}  // namespace tilewise::cli
