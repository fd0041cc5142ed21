// The driver's declarations against the toolkit's own, where there is one.
#include <gtest/gtest.h>

#if __has_include(<cuda.h>)
#include <cuda.h>

#include <type_traits>

#include "backends/cuda/driver/calls.h"

namespace tilewise::cuda {
namespace {

// Handles, enums and plain numbers pass alike when they have one size and kind.
template <class Ours, class Theirs>
constexpr bool kAlike =
    sizeof(Ours) == sizeof(Theirs) && std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>;

template <class Ours, class Theirs>
struct Same;
template <class R, class... A, class S, class... B>
struct Same<R (*)(A...), S (*)(B...)> {
  static constexpr bool kValue = [] {
    if constexpr (sizeof...(A) == sizeof...(B))
      return kAlike<R, S> && (kAlike<A, B> && ...);
    else
      return false;
  }();
};

TEST(CudaAbi, DeclarationsAreTheToolkits) {
#define TW_EXPECT(member, name) \
  EXPECT_TRUE((Same<decltype(Calls::member), decltype(&(name))>::kValue)) << #member
  TW_EXPECT(driver_version, cuDriverGetVersion);
  TW_EXPECT(error_name, cuGetErrorName);
  TW_EXPECT(device_count, cuDeviceGetCount);
  TW_EXPECT(device_get, cuDeviceGet);
  TW_EXPECT(device_attribute, cuDeviceGetAttribute);
  TW_EXPECT(device_name, cuDeviceGetName);
  TW_EXPECT(primary_retain, cuDevicePrimaryCtxRetain);
  TW_EXPECT(primary_release, cuDevicePrimaryCtxRelease);
  TW_EXPECT(context_current, cuCtxGetCurrent);
  TW_EXPECT(context_push, cuCtxPushCurrent);
  TW_EXPECT(context_pop, cuCtxPopCurrent);
  TW_EXPECT(context_id, cuCtxGetId);
  TW_EXPECT(stream_context, cuStreamGetCtx);
  TW_EXPECT(stream_capturing, cuStreamIsCapturing);
  TW_EXPECT(stream_synchronize, cuStreamSynchronize);
  TW_EXPECT(exchange_capture_mode, cuThreadExchangeStreamCaptureMode);
  TW_EXPECT(library_load, cuLibraryLoadData);
  TW_EXPECT(library_unload, cuLibraryUnload);
  TW_EXPECT(library_kernel, cuLibraryGetKernel);
  TW_EXPECT(kernel_function, cuKernelGetFunction);
  TW_EXPECT(kernel_attribute, cuKernelGetAttribute);
  TW_EXPECT(kernel_set, cuKernelSetAttribute);
  TW_EXPECT(launch, cuLaunchKernel);
  TW_EXPECT(pointer_attributes, cuPointerGetAttributes);
  TW_EXPECT(host_register, cuMemHostRegister);
  TW_EXPECT(host_address, cuMemHostGetDevicePointer);
  TW_EXPECT(device_bytes, cuDeviceTotalMem);
  TW_EXPECT(memory_allocate, cuMemAlloc);
  TW_EXPECT(memory_free, cuMemFree);
  TW_EXPECT(memory_copy, cuMemcpyAsync);
#undef TW_EXPECT
}

TEST(CudaAbi, ErrorsAreTheToolkits) {
#define TW_EXPECT(ours, theirs) EXPECT_EQ(ours, static_cast<int>(CUDA_ERROR_##theirs))
  TW_EXPECT(kInvalidValue, INVALID_VALUE);
  TW_EXPECT(kOutOfMemory, OUT_OF_MEMORY);
  TW_EXPECT(kNotInitialized, NOT_INITIALIZED);
  TW_EXPECT(kDeinitialized, DEINITIALIZED);
  TW_EXPECT(kStubLibrary, STUB_LIBRARY);
  TW_EXPECT(kUnavailable, DEVICE_UNAVAILABLE);
  TW_EXPECT(kNoDevice, NO_DEVICE);
  TW_EXPECT(kInvalidDevice, INVALID_DEVICE);
  TW_EXPECT(kInvalidImage, INVALID_IMAGE);
  TW_EXPECT(kInvalidContext, INVALID_CONTEXT);
  TW_EXPECT(kNoBinaryForGpu, NO_BINARY_FOR_GPU);
  TW_EXPECT(kUncorrectable, ECC_UNCORRECTABLE);
  TW_EXPECT(kLinkUncorrectable, NVLINK_UNCORRECTABLE);
  TW_EXPECT(kNoJit, JIT_COMPILER_NOT_FOUND);
  TW_EXPECT(kUnsupportedPtx, UNSUPPORTED_PTX_VERSION);
  TW_EXPECT(kOperatingSystem, OPERATING_SYSTEM);
  TW_EXPECT(kInvalidHandle, INVALID_HANDLE);
  TW_EXPECT(kNotFound, NOT_FOUND);
  TW_EXPECT(kIllegalAddress, ILLEGAL_ADDRESS);
  TW_EXPECT(kLaunchTimeout, LAUNCH_TIMEOUT);
  TW_EXPECT(kContextDestroyed, CONTEXT_IS_DESTROYED);
  TW_EXPECT(kAssert, ASSERT);
  TW_EXPECT(kAlreadyRegistered, HOST_MEMORY_ALREADY_REGISTERED);
  TW_EXPECT(kFirstFault, HARDWARE_STACK_ERROR);
  TW_EXPECT(kLaunchFailed, LAUNCH_FAILED);
  TW_EXPECT(kNotPermitted, NOT_PERMITTED);
  TW_EXPECT(kSystemNotReady, SYSTEM_NOT_READY);
  TW_EXPECT(kDriverMismatch, SYSTEM_DRIVER_MISMATCH);
  TW_EXPECT(kCompatUnsupported, COMPAT_NOT_SUPPORTED_ON_DEVICE);
  TW_EXPECT(kNoServer, MPS_CONNECTION_FAILED);
  TW_EXPECT(kServerFailed, MPS_RPC_FAILURE);
  TW_EXPECT(kServerNotReady, MPS_SERVER_NOT_READY);
  TW_EXPECT(kServerFull, MPS_MAX_CLIENTS_REACHED);
  TW_EXPECT(kCaptureUnsupported, STREAM_CAPTURE_UNSUPPORTED);
  TW_EXPECT(kCaptureInvalidated, STREAM_CAPTURE_INVALIDATED);
  TW_EXPECT(kCaptureImplicit, STREAM_CAPTURE_IMPLICIT);
  TW_EXPECT(kUnknown, UNKNOWN);
#undef TW_EXPECT
}

TEST(CudaAbi, NumbersAreTheToolkits) {
  EXPECT_EQ(kMajor, static_cast<int>(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
  EXPECT_EQ(kClock, static_cast<int>(CU_DEVICE_ATTRIBUTE_CLOCK_RATE));
  EXPECT_EQ(kProcessors, static_cast<int>(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
  EXPECT_EQ(kAllSharedBytes,
            static_cast<int>(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR));
  EXPECT_EQ(kOptInSharedBytes,
            static_cast<int>(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
  EXPECT_EQ(kLocalBytes, static_cast<int>(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES));
  EXPECT_EQ(kDynamicSharedBytes, static_cast<int>(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES));
  EXPECT_EQ(kPageableMemoryAccess, static_cast<int>(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS));
  EXPECT_EQ(kHostMemory, static_cast<int>(CU_MEMORYTYPE_HOST));
  EXPECT_EQ(kDeviceMemory, static_cast<int>(CU_MEMORYTYPE_DEVICE));
  EXPECT_EQ(kPointerKind, static_cast<int>(CU_POINTER_ATTRIBUTE_MEMORY_TYPE));
  EXPECT_EQ(kPointerIsManaged, static_cast<int>(CU_POINTER_ATTRIBUTE_IS_MANAGED));
  EXPECT_EQ(kPointerDevice, static_cast<int>(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL));
  EXPECT_EQ(kPortable, static_cast<unsigned>(CU_MEMHOSTREGISTER_PORTABLE));
  EXPECT_EQ(kCaptureRelaxed, static_cast<int>(CU_STREAM_CAPTURE_MODE_RELAXED));
}

}  // namespace
}  // namespace tilewise::cuda

#else

namespace {

TEST(CudaAbi, DeclarationsAreTheToolkits) {
  GTEST_SKIP() << "there is no CUDA toolkit here to compare with";
}

}  // namespace

#endif
