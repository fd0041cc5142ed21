// Dumps what a profiler or a reader wants: a kernel's text, its PTX, and a cubin with line numbers,
// in a folder of the user's choice.
#pragma once

#include <string>

#include "backends/cuda/compiler/program.h"
#include "backends/cuda/compiler/sealed.h"

namespace tilewise::cuda {

// Writes the program's sources to `folder` and compiles them from there, with line information.
// That does not change the machine code, so `out` can be run. Leaves the cubin and its PTX in the
// folder as well, as NAME.ARCH.cubin and NAME.ARCH.ptx.
Status compile_in(const std::string& folder, const Nvrtc& nvrtc, const Program& program,
                  const std::string& arch, Compiled& out);

}  // namespace tilewise::cuda
