// What a profiler and a curious person want to see: a kernel's text, its PTX and a cubin that knows
// its lines, in a folder of their choice.
#pragma once

#include <string>

#include "backends/cuda/compiler/program.h"
#include "backends/cuda/compiler/sealed.h"

namespace tilewise::cuda {

// Compiles the program from its files in `folder`, with the lines in the cubin. The machine code is
// the same as without them, so the cubin is good for running; its PTX and itself are left as
// NAME.ARCH.ptx and .cubin.
Status compile_in(const std::string& folder, const Nvrtc& nvrtc, const Program& program,
                  const std::string& arch, Compiled& out);

}  // namespace tilewise::cuda
