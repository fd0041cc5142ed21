// libcuda, opened when first needed: a program built with this library starts without it.
#pragma once

#include "backends/cuda/driver/calls.h"
#include "problem/structs.h"

namespace tilewise::cuda {

// The oldest driver whose calls are used: CUDA 12.0, Linux driver 525.60.13.
inline constexpr int kOldestDriver = 12000;

// The oldest GPU that runs: compute capability 8.0, Ampere.
inline constexpr int kOldestArchitecture = 80;

// The driver's calls, ready to use, or the sentence why there are none and what to do. Opened once
// a process and never closed; afterwards this costs a load and a branch. In a child that was forked
// after its parent used CUDA no call can work, and this says so.
Status open_driver(const Calls*& calls);

// For tests: another library in place of the driver's, named before it is first opened.
void replace_driver(const char* path);

// What `doing` failed for, by the driver's name of the error and what a person can do: "loading a
// kernel: CUDA_ERROR_OUT_OF_MEMORY (2): free memory of the device.".
Status driver_failure(const Calls& calls, Result result, const char* doing);

// As TW_TRY: the first call that fails decides.
#define TW_CUDA(calls, call, doing)                                                          \
  if (const ::tilewise::cuda::Result result = (calls).call; result != ::tilewise::cuda::kOk) \
  return ::tilewise::cuda::driver_failure((calls), result, (doing))

}  // namespace tilewise::cuda
