// What the driver's errors are called and what a person can do about them.
#pragma once

#include "backends/cuda/driver/calls.h"
#include "problem/structs.h"

namespace tilewise::cuda {

// The form of cuGetErrorName. Null where there is no driver yet that could be asked.
using ErrorName = Result (*)(Result, const char**);

// Why the driver does not start: "the NVIDIA driver does not start: CUDA_ERROR_NO_DEVICE (100): …".
Status start_failure(Result result, ErrorName ask);

// The same of a child whose parent had used CUDA: nothing was asked of the driver.
Status forked_too_late();

}  // namespace tilewise::cuda
