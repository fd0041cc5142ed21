// One kernel as a value, and what it is compiled for. The compiler knows no attention: what a
// kernel does stands in its header and in two lines of text here.
#pragma once

#include <span>

namespace tilewise::cuda {

// Becomes, in text that NVRTC reads:
//     #include "INCLUDE"
//     extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) NAME(PARAMETERS) { BODY }
struct Variant {
  const char* name;        // a C identifier, by which the driver finds the kernel
  const char* include;     // from src: "backends/cuda/kernels/plain/forward.h"
  const char* parameters;  // "const __grid_constant__ tilewise::cuda::ForwardArguments arguments"
  const char* body;        // "tilewise::cuda::plain::forward<Float>(arguments);"
  int threads;             // of a block
  int blocks;              // that a multiprocessor has to hold at once; 0: any number
  int dynamic_shared_bytes;
};

struct Target {
  int major = 8, minor = 0;    // of the GPU
  bool arch_specific = false;  // sm_90a: for this GPU and none that is newer
  int driver_version = 0;      // 12040 is 12.4: what it cannot load is not made
};

// Every kernel of the library, of all families: what the pack holds for each of its targets and
// what `tilewise kernels` lists. Kernels are known by their place in it. It is the one list of
// them.
std::span<const Variant> packed_variants();

}  // namespace tilewise::cuda
