// The functions of torch's stable C face that are used (torch/csrc/stable/c/shim.h and
// torch/csrc/inductor/aoti_torch/c/shim.h). They are declared here, so that no header of torch is
// needed, and found by name in the loaded torch. All exist from torch 2.10; the last one in the
// list only if torch has CUDA.
#pragma once
#include <cstdint>

namespace tilewise::fast::torch_abi {

using Value = std::uint64_t;  // torch's StableIValue: an argument or a result of an operator
using Handle = void*;         // of a tensor; who is given one deletes it
using List = void*;
using Error = std::int32_t;  // 0: none
using Kernel = void (*)(Value* stack, std::uint64_t arguments, std::uint64_t results);

// The version of torch whose interface these calls use, 2.10: major in the top 8 bits, then minor.
inline constexpr std::uint64_t kVersion = std::uint64_t{2} << 56 | std::uint64_t{10} << 48;

// Numbers of c10::DeviceType and at::ScalarType. Saved models contain them, so they do not change.
enum : std::int32_t { kCpu = 0, kCuda = 1 };
enum : std::int32_t { kByte = 0, kHalf = 5, kFloat = 6, kDouble = 7, kBfloat = 15 };

// TW_TORCH(member, name in torch, result, arguments), in the order in which addresses are given.
#define TW_TORCH_FUNCTIONS                                                                      \
  TW_TORCH(is_defined, aoti_torch_is_defined, Error, Handle, bool*)                             \
  TW_TORCH(elements, aoti_torch_get_numel, Error, Handle, std::int64_t*)                        \
  TW_TORCH(data, aoti_torch_get_data_ptr, Error, Handle, void**)                                \
  TW_TORCH(rank, aoti_torch_get_dim, Error, Handle, std::int64_t*)                              \
  TW_TORCH(sizes, aoti_torch_get_sizes, Error, Handle, std::int64_t**)                          \
  TW_TORCH(strides, aoti_torch_get_strides, Error, Handle, std::int64_t**)                      \
  TW_TORCH(dtype, aoti_torch_get_dtype, Error, Handle, std::int32_t*)                           \
  TW_TORCH(device, aoti_torch_get_device_type, Error, Handle, std::int32_t*)                    \
  TW_TORCH(device_index, aoti_torch_get_device_index, Error, Handle, std::int32_t*)             \
  TW_TORCH(storage_bytes, aoti_torch_get_storage_size, Error, Handle, std::int64_t*)            \
  TW_TORCH(storage_offset, aoti_torch_get_storage_offset, Error, Handle, std::int64_t*)         \
  TW_TORCH(empty_strided, aoti_torch_empty_strided, Error, std::int64_t, const std::int64_t*,   \
           const std::int64_t*, std::int32_t, std::int32_t, std::int32_t, Handle*)              \
  TW_TORCH(copy, aoti_torch_copy_, Error, Handle, Handle, std::int32_t)                         \
  TW_TORCH(nothing, aoti_torch_new_uninitialized_tensor, Error, Handle*)                        \
  TW_TORCH(release, aoti_torch_delete_tensor_object, Error, Handle)                             \
  TW_TORCH(list_size, torch_list_size, Error, List, std::size_t*)                               \
  TW_TORCH(list_item, torch_list_get_item, Error, List, std::size_t, Value*)                    \
  TW_TORCH(list_release, torch_delete_list, Error, List)                                        \
  TW_TORCH(threads, torch_get_num_threads, Error, std::uint32_t*)                               \
  TW_TORCH(check, aoti_torch_check, void, bool, const char*, const char*, std::uint32_t,        \
           const char*)                                                                         \
  TW_TORCH(library, aoti_torch_library_init_impl, Error, const char*, const char*, const char*, \
           std::uint32_t, void**)                                                               \
  TW_TORCH(implement, torch_library_impl, Error, void*, const char*, Kernel, std::uint64_t)     \
  TW_TORCH(stream, aoti_torch_get_current_cuda_stream, Error, std::int32_t, void**)

struct Functions {
#define TW_TORCH(member, name, result, ...) result (*member)(__VA_ARGS__);
  TW_TORCH_FUNCTIONS
#undef TW_TORCH
};

inline constexpr const char* kNames[] = {
#define TW_TORCH(member, name, result, ...) #name,
    TW_TORCH_FUNCTIONS
#undef TW_TORCH
};
inline constexpr int kCount = static_cast<int>(sizeof kNames / sizeof kNames[0]);

}  // namespace tilewise::fast::torch_abi
