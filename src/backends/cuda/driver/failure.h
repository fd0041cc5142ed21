// The names of the driver's errors, and what a person can do about them.
#pragma once

#include "backends/cuda/driver/calls.h"
#include "problem/structs.h"

namespace tilewise::cuda {

// The signature of cuGetErrorName. Null if no driver is open yet.
using ErrorName = Result (*)(Result, const char**);

// Why the driver does not start: "the NVIDIA driver does not start: CUDA_ERROR_NO_DEVICE (100): …".
Status start_failure(Result result, ErrorName ask);

// Why the driver does not start in a child whose parent had used CUDA; the driver is not asked.
Status forked_too_late();

}  // namespace tilewise::cuda
