// One kernel as a value, and its compile target. The compiler knows nothing of attention: a
// kernel's code is in the header `include`, and the line `body` calls it.
#pragma once

#include <span>

namespace tilewise::cuda {

// Becomes this text for NVRTC:
//    #include "INCLUDE"
//    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) NAME(PARAMETERS) { BODY }
struct Variant {
  const char* name;        // a C identifier, by which the driver finds the kernel
  const char* include;     // relative to src: "backends/cuda/kernels/plain/forward.h"
  const char* parameters;  // "const __grid_constant__ tilewise::cuda::ForwardArguments arguments"
  const char* body;        // "tilewise::cuda::plain::forward<Float>(arguments);"
  int threads;             // per block
  int blocks;              // minimum per multiprocessor; 0: no minimum
  int dynamic_shared_bytes;
};

struct Target {
  int major = 8, minor = 0;    // of the GPU
  bool arch_specific = false;  // sm_90a: for this GPU and no newer one
  int driver_version = 0;      // 12040 is 12.4; only code that this driver loads is made
};

// The list of all kernels but featured ones (featured.h). A pack holds each for each of its
// targets, and `tilewise kernels` lists them. A kernel is identified by its index here; the indices
// of featured kernels follow.
std::span<const Variant> packed_variants();

}  // namespace tilewise::cuda
