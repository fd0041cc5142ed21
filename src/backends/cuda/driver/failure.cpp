#include "backends/cuda/driver/failure.h"

#include "backends/cuda/driver/driver.h"

namespace tilewise::cuda {
namespace {

struct Known {
  Result result;
  const char* name;  // for errors of the driver's start, when it may not be able to tell the name
  const char* advice;
};

constexpr char kBusy[] = "another process keeps the GPU to itself, or it has to be reset.";
constexpr char kBroken[] =
    "the GPU's memory or links are damaged: end the process; nvidia-smi -q says which.";
constexpr char kServer[] =
    "look whether the MPS server runs and takes more clients, or unset CUDA_MPS_PIPE_DIRECTORY.";
constexpr char kCaptured[] =
    "this cannot be done while a stream is captured: prepare the call before.";

constexpr Known kAll[] = {
    {kInvalidValue, "CUDA_ERROR_INVALID_VALUE",
     "an address, a size or a stream is not what the driver takes: look at those of this call."},
    {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY", "free memory of the device."},
    {kNotInitialized, "CUDA_ERROR_NOT_INITIALIZED",
     "CUDA cannot be used in a process that was forked after its parent used it: start workers by "
     "'spawn'."},
    {kDeinitialized, "CUDA_ERROR_DEINITIALIZED",
     "the process is ending and the driver with it: make no calls after that."},
    {kStubLibrary, "CUDA_ERROR_STUB_LIBRARY",
     "libcuda.so.1 is the toolkit's stub and no driver: take .../stubs off the library path."},
    {kUnavailable, "CUDA_ERROR_DEVICE_UNAVAILABLE", kBusy},
    {kNoDevice, "CUDA_ERROR_NO_DEVICE",
     "it sees no GPU: look whether CUDA_VISIBLE_DEVICES is empty or wrong, or the container lacks "
     "--gpus."},
    {kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE",
     "give the index of a GPU that the process sees; nvidia-smi lists them."},
    {kInvalidImage, "CUDA_ERROR_INVALID_IMAGE",
     "the kernel's cubin is damaged: tilewise kernels clear, or install the library again."},
    {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT",
     "a context or a stream of this process was destroyed, or is another device's."},
    {kNoBinaryForGpu, "CUDA_ERROR_NO_BINARY_FOR_GPU", "the kernel was compiled for another GPU."},
    {kUncorrectable, "CUDA_ERROR_ECC_UNCORRECTABLE", kBroken},
    {kInvalidPtx, "CUDA_ERROR_INVALID_PTX",
     "the driver cannot compile the kernel's PTX: install NVRTC, or a newer driver."},
    {kLinkUncorrectable, "CUDA_ERROR_NVLINK_UNCORRECTABLE", kBroken},
    {kNoJit, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND",
     "libnvidia-ptxjitcompiler.so.1 is missing: install all of the driver, or NVRTC."},
    {kUnsupportedPtx, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
     "the kernel's PTX is newer than the driver: update that."},
    {kOperatingSystem, "CUDA_ERROR_OPERATING_SYSTEM",
     "the system refused the driver: look at the limits of memory (ulimit -v), at /dev/nvidia* and "
     "at dmesg."},
    {kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE",
     "the stream is not of this device, or was destroyed."},
    {kLaunchOutOfResources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "the kernel wants more registers or shared memory than this GPU has: set "
     "TILEWISE_CUDA_KERNELS=plain, and report it."},
    {kContextDestroyed, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "the device was reset."},
    {kNotPermitted, "CUDA_ERROR_NOT_PERMITTED",
     "this process may not do that: look at the rights on /dev/nvidia* and of the container."},
    {kNotSupported, "CUDA_ERROR_NOT_SUPPORTED",
     "this GPU, or the virtual machine or container that it is in, cannot do that."},
    {kSystemNotReady, "CUDA_ERROR_SYSTEM_NOT_READY",
     "the machine's GPUs are not set up yet: look whether nvidia-fabricmanager runs."},
    {kDriverMismatch, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "libcuda and the loaded kernel module are of different versions: restart the machine, or "
     "remove the compat package."},
    {kCompatUnsupported, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
     "this GPU takes no compat package: remove that, or update the driver itself."},
    {kNoServer, "CUDA_ERROR_MPS_CONNECTION_FAILED", kServer},
    {kServerFailed, "CUDA_ERROR_MPS_RPC_FAILURE", kServer},
    {kServerNotReady, "CUDA_ERROR_MPS_SERVER_NOT_READY", kServer},
    {kServerFull, "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED", kServer},
    {kCaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", kCaptured},
    {kCaptureInvalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", kCaptured},
    {kCaptureImplicit, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", kCaptured},
    {kUnknown, "CUDA_ERROR_UNKNOWN",
     "look whether the module nvidia_uvm is loaded and /dev/nvidia* may be read; dmesg may say "
     "more."}};

const Known* known(Result result) {
  for (const Known& each : kAll)
    if (each.result == result) return &each;
  return nullptr;
}

// The driver's name of the error; ours if the driver cannot be asked.
const char* name_of(Result result, ErrorName ask) {
  const char* name = nullptr;
  if (ask && ask(result, &name) == kOk && name) return name;
  const Known* here = known(result);
  return here ? here->name : "an error without a name";
}

// Faults of a kernel are sticky: every later call of the process returns them, whoever launched it.
bool is_fault(Result result) {
  return result == kIllegalAddress || result == kLaunchTimeout || result == kAssert ||
         (result >= kFirstFault && result <= kLaunchFailed);
}

const char* advice(Result result) {
  if (is_fault(result))
    return "a kernel of this process failed, now or before: end the process; compute-sanitizer "
           "finds the place.";
  const Known* here = known(result);
  return here ? here->advice : "nvidia-smi and dmesg may say more.";
}

}  // namespace

Status start_failure(Result result, ErrorName ask) {
  return unsupported("the NVIDIA driver does not start: %s (%d): %s", name_of(result, ask), result,
                     advice(result));
}

Status forked_too_late() {
  return unsupported(
      "CUDA cannot be used in a process that was forked after its parent used CUDA: start workers "
      "by 'spawn'.");
}

Status driver_failure(const Calls& calls, Result result, const char* doing) {
  return failed("%s: %s (%d): %s", doing, name_of(result, calls.error_name), result,
                advice(result));
}

}  // namespace tilewise::cuda
