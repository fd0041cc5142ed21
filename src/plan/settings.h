// What the environment asks for. It is read at first need and kept, because a program may change
// its environment while other threads call.
#pragma once

namespace tilewise {

struct Settings {
  static constexpr int kNameBytes = 64;

  char backend[kNameBytes];       // TILEWISE_BACKEND; empty: none is named
  char instructions[kNameBytes];  // TILEWISE_CPU_ISA; empty: the best one
  char cuda_kernels[kNameBytes];  // TILEWISE_CUDA_KERNELS; empty: the best that a call allows
  double least_work;              // TILEWISE_LEAST_SHARE; negative: the measured one
};

Settings settings();

// For tests that change the environment: makes settings() read it again.
void forget_settings();

}  // namespace tilewise
