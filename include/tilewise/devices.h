/* Devices, memory there, and the GPU's kernels: the part of the C face that allocates, waits and
 * compiles. tilewise.h, which says what holds for every function, includes it. */
#ifndef TILEWISE_DEVICES_H
#define TILEWISE_DEVICES_H

#include "tilewise/tilewise.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The kind of device that backend i runs on (tw_device_kind), or -1 past the end. */
TW_API int32_t tw_backend_device(int32_t i);

/* Devices, and memory there for callers who have no other library for it. Whoever has one (PyTorch,
 * JAX, CuPy, cudaMalloc) gives its pointers and streams to the functions of tilewise.h and needs
 * none of these. A null `device` is the processor, of which there is one; its memory is the host's.
 *
 * tw_device_count: how many devices of a kind (tw_device_kind) this process sees. Where none of
 * them can be used the answer is TW_UNSUPPORTED, the sentence says why, and *count is 0. */
TW_API tw_status tw_device_count(int32_t kind, int32_t* count, char* message, size_t message_bytes);

/* Facts about a device; a member is 0 if it is not known. */
typedef struct tw_device_facts {
  size_t size;
  char name[128];       /* "NVIDIA H200" */
  int32_t architecture; /* CUDA: 90 is compute capability 9.0 */
  int32_t processors;   /* CUDA: multiprocessors */
  int32_t clock_khz;    /* their highest clock */
  int32_t driver;       /* CUDA: 12080 is a driver of CUDA 12.8 */
  uint64_t memory_bytes;
} tw_device_facts;

/* Fills in all of *facts but its size, which the caller sets. A device that this library cannot use
 * is refused with the reason. */
TW_API tw_status tw_device_describe(const tw_device* device, tw_device_facts* facts, char* message,
                                    size_t message_bytes);

/* Memory for tensors and workspaces: aligned for any backend, its contents undefined. tw_free takes
 * null, and may not be called before the device is done with the memory. Neither spoils a capture
 * of a stream. */
TW_API tw_status tw_allocate(const tw_device* device, size_t bytes, void** memory, char* message,
                             size_t message_bytes);
TW_API tw_status tw_free(const tw_device* device, void* memory, char* message,
                         size_t message_bytes);

/* Copies to, from or within the device's memory, after the work that `stream` already has; either
 * side may be the host's. Until tw_synchronize has returned, do not write to `from`, nor read `to`,
 * on the host. */
TW_API tw_status tw_copy(const tw_device* device, void* to, const void* from, size_t bytes,
                         void* stream, char* message, size_t message_bytes);

/* Waits until all work on the stream is done, and fails if any of that work failed. */
TW_API tw_status tw_synchronize(const tw_device* device, void* stream, char* message,
                                size_t message_bytes);

/* The GPU's kernels. Each is compiled once for an architecture: ahead of time into the pack that
 * the library carries, or by NVRTC, the GPU's run-time compiler, into the user's disk cache, where
 * the next process finds it. Nothing here needs a GPU or a driver. Where no NVRTC can be used, a
 * kernel in the cache is found whichever NVRTC compiled it: a cache may be filled elsewhere.
 *
 * Which kernels: what is null or 0, and a null choice, stands for all that this machine may use. */
typedef struct tw_kernel_choice {
  size_t size;
  const char* names;         /* of kernels, with commas between; null: all of the library */
  const char* architectures; /* "sm_80,sm_90"; null: those of this machine's GPUs, or where there
                              * are none, all that a pack is made for */
  int32_t driver_version;    /* of the machine that will load them: 12040 is CUDA 12.4; 0: this
                              * machine's, or where there is none, any */
} tw_kernel_choice;

/* Says of each kernel where a call would find it (in the pack, in the cache, or not yet), and what
 * it takes: registers, spilled bytes, shared memory, seconds of compiling, bytes. Says which NVRTC,
 * pack and cache there are. Writes as tw_explain does, and compiles no kernel. */
TW_API tw_status tw_kernels(const tw_kernel_choice* choice, tw_format format, char* text,
                            size_t text_bytes, size_t* needed, char* message, size_t message_bytes);

/* Compiles into the disk cache what is neither there nor in the pack. Unless it is null, `progress`
 * is called before the first kernel and after each one, by one thread at a time. It says whether to
 * go on: after a 0 no further kernel is begun, and the call fails if any is left. What is compiled
 * stays. */
typedef int32_t (*tw_progress)(void* host, int64_t done, int64_t total, const char* what);
TW_API tw_status tw_build_kernels(const tw_kernel_choice* choice, tw_progress progress, void* host,
                                  char* message, size_t message_bytes);

/* Removes from the disk cache what the library has put there, and nothing else. *removed, unless it
 * is null, becomes the number of files, also where some cannot be removed and the call fails. */
TW_API tw_status tw_clear_kernels(int64_t* removed, char* message, size_t message_bytes);

/* Adds a folder to those that are searched for NVRTC: one that holds NVRTC itself or Python
 * packages. Its path begins with a slash. For programs that know where their packages lie, as
 * Python does; users set TILEWISE_NVRTC_PATH. Holds for this process, from the next search on. */
TW_API tw_status tw_add_nvrtc_folder(const char* folder, char* message, size_t message_bytes);

#ifdef __cplusplus
}
#endif

#endif
