// Dumps what a profiler or a reader wants: a kernel's text, its PTX, and a cubin with line numbers,
// in a folder of the user's choice.
#pragma once

#include <string>

#include "backends/cuda/compiler/program.h"
#include "backends/cuda/compiler/sealed.h"

namespace tilewise::cuda {

// Compiles the program from its files in `folder`, with line information. The machine code is the
// same as without, so the cubin can be run. Also leaves it there, and its PTX, as NAME.ARCH.cubin
// and NAME.ARCH.ptx.
Status compile_in(const std::string& folder, const Nvrtc& nvrtc, const Program& program,
                  const std::string& arch, Compiled& out);

}  // namespace tilewise::cuda
