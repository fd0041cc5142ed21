// libcuda, opened when first needed, so that a program with this library starts without it.
#pragma once

#include "backends/cuda/driver/calls.h"
#include "problem/structs.h"

namespace tilewise::cuda {

// The oldest driver whose calls are used: CUDA 12.0, Linux driver 525.60.13.
inline constexpr int kOldestDriver = 12000;

// The oldest GPU that runs: compute capability 8.0, Ampere.
inline constexpr int kOldestArchitecture = 80;

// The driver's functions, or a sentence that says why there are none and what to do. Opened once
// per process and never closed. Fails in a child that was forked after its parent used CUDA, where
// no call can work.
Status open_driver(const Calls*& calls);

// For tests: opens another library instead. Must be called before the driver is first opened.
void replace_driver(const char* path);

// The failure of what `doing` names, with the driver's name of the error and what a person can do:
// "loading a kernel: CUDA_ERROR_OUT_OF_MEMORY (2): free memory of the device.".
Status driver_failure(const Calls& calls, Result result, const char* doing);

// Like TW_TRY: returns at the first call that fails.
#define TW_CUDA(calls, call, doing)                                                          \
  if (const ::tilewise::cuda::Result result = (calls).call; result != ::tilewise::cuda::kOk) \
  return ::tilewise::cuda::driver_failure((calls), result, (doing))

}  // namespace tilewise::cuda
