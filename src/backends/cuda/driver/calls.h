// The part of the CUDA driver's interface that this backend uses, declared here so that building
// needs no CUDA header. tests/backends/cuda compares the declarations with cuda.h if there is one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tilewise::cuda {

using Result = int;             // CUresult; 0 is success
using Ordinal = int;            // CUdevice
using Address = std::uint64_t;  // CUdeviceptr
using Context = struct ContextTag*;
// A stream's handle; also 0 and 1 for the legacy default stream, 2 for the thread's default stream.
using Stream = struct StreamTag*;
using Library = struct LibraryTag*;
// A Kernel belongs to a Library and to no context, so it survives a reset of the device. A launch
// takes a Kernel in place of a Function.
using Kernel = struct KernelTag*;
using Function = struct FunctionTag*;  // belongs to one context

enum : Result {
  kOk = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kNotInitialized = 3,
  kDeinitialized = 4,
  kStubLibrary = 34,
  kUnavailable = 46,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kInvalidContext = 201,
  kNoBinaryForGpu = 209,
  kUncorrectable = 214,
  kInvalidPtx = 218,
  kLinkUncorrectable = 220,
  kNoJit = 221,
  kUnsupportedPtx = 222,
  kOperatingSystem = 304,
  kInvalidHandle = 400,
  kNotFound = 500,
  kIllegalAddress = 700,
  kLaunchOutOfResources = 701,
  kLaunchTimeout = 702,
  kContextDestroyed = 709,
  kAssert = 710,
  kAlreadyRegistered = 712,
  kFirstFault = 714,  // a damaged stack; from here to kLaunchFailed: faults of a kernel
  kLaunchFailed = 719,
  kNotPermitted = 800,
  kNotSupported = 801,
  kSystemNotReady = 802,
  kDriverMismatch = 803,
  kCompatUnsupported = 804,
  kNoServer = 805,
  kServerFailed = 806,
  kServerNotReady = 807,
  kServerFull = 808,
  kCaptureUnsupported = 900,
  kCaptureInvalidated = 901,
  kCaptureImplicit = 906,
  kUnknown = 999
};

// CUdevice_attribute, CUfunction_attribute, CUpointer_attribute, CUstreamCaptureMode.
enum : int {
  kClock = 13,
  kProcessors = 16,
  kMajor = 75,
  kMinor = 76,
  kAllSharedBytes = 81,  // per multiprocessor
  kPageableMemoryAccess = 88,
  kOptInSharedBytes = 97
};
enum : int { kSharedBytes = 1, kLocalBytes = 3, kRegisters = 4, kDynamicSharedBytes = 8 };
enum : int { kPointerKind = 2, kPointerIsManaged = 8, kPointerDevice = 9 };
// CUmemorytype. 0 means that the driver does not know the address: host memory, or none.
enum : int { kHostMemory = 1, kDeviceMemory = 2 };
enum : int { kCaptureGlobal = 0, kCaptureThreadLocal = 1, kCaptureRelaxed = 2 };
enum : unsigned { kPortable = 1, kMapped = 2 };  // flags of registered host memory

// (member, exported name, CUDA version of the signature, parameters). The version is fixed and not
// the driver's own, because a newer driver may give the same name other parameters.
#define TW_DRIVER_CALLS(CALL)                                                                      \
  CALL(driver_version, "cuDriverGetVersion", 2020, (int*))                                         \
  CALL(error_name, "cuGetErrorName", 6000, (Result, const char**))                                 \
  CALL(device_count, "cuDeviceGetCount", 2000, (int*))                                             \
  CALL(device_get, "cuDeviceGet", 2000, (Ordinal*, int))                                           \
  CALL(device_attribute, "cuDeviceGetAttribute", 2000, (int*, int, Ordinal))                       \
  CALL(device_name, "cuDeviceGetName", 2000, (char*, int, Ordinal))                                \
  CALL(primary_retain, "cuDevicePrimaryCtxRetain", 7000, (Context*, Ordinal))                      \
  CALL(primary_release, "cuDevicePrimaryCtxRelease", 11000, (Ordinal))                             \
  CALL(context_current, "cuCtxGetCurrent", 4000, (Context*))                                       \
  CALL(context_push, "cuCtxPushCurrent", 4000, (Context))                                          \
  CALL(context_pop, "cuCtxPopCurrent", 4000, (Context*))                                           \
  CALL(context_id, "cuCtxGetId", 12000, (Context, unsigned long long*))                            \
  CALL(stream_context, "cuStreamGetCtx", 9020, (Stream, Context*))                                 \
  CALL(stream_capturing, "cuStreamIsCapturing", 10000, (Stream, int*))                             \
  CALL(stream_synchronize, "cuStreamSynchronize", 2000, (Stream))                                  \
  CALL(exchange_capture_mode, "cuThreadExchangeStreamCaptureMode", 10010, (int*))                  \
  CALL(library_load, "cuLibraryLoadData", 12000,                                                   \
       (Library*, const void*, int*, void**, unsigned, int*, void**, unsigned))                    \
  CALL(library_unload, "cuLibraryUnload", 12000, (Library))                                        \
  CALL(library_kernel, "cuLibraryGetKernel", 12000, (Kernel*, Library, const char*))               \
  CALL(kernel_function, "cuKernelGetFunction", 12000, (Function*, Kernel))                         \
  CALL(kernel_attribute, "cuKernelGetAttribute", 12000, (int*, int, Kernel, Ordinal))              \
  CALL(kernel_set, "cuKernelSetAttribute", 12000, (int, int, Kernel, Ordinal))                     \
  CALL(launch, "cuLaunchKernel", 4000,                                                             \
       (const void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, \
        void**, void**))                                                                           \
  CALL(pointer_attributes, "cuPointerGetAttributes", 7000,                                         \
       (unsigned, const int*, void**, Address))                                                    \
  CALL(host_register, "cuMemHostRegister", 6050, (void*, std::size_t, unsigned))                   \
  CALL(host_address, "cuMemHostGetDevicePointer", 3020, (Address*, void*, unsigned))               \
  CALL(device_bytes, "cuDeviceTotalMem", 3020, (std::size_t*, Ordinal))                            \
  CALL(memory_allocate, "cuMemAlloc", 3020, (Address*, std::size_t))                               \
  CALL(memory_free, "cuMemFree", 3020, (Address))                                                  \
  CALL(memory_copy, "cuMemcpyAsync", 4000, (Address, Address, std::size_t, Stream))

// NOLINTBEGIN(bugprone-macro-parentheses): members and parameters take no parentheses.
struct Calls {
  int version = 0;  // the driver's: 12040 is 12.4
#define TW_MEMBER(member, name, since, parameters) Result(*member) parameters = nullptr;
  TW_DRIVER_CALLS(TW_MEMBER)
#undef TW_MEMBER
};
// NOLINTEND(bugprone-macro-parentheses)

}  // namespace tilewise::cuda
