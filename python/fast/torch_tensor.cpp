#include "python/fast/torch_tensor.h"

#include <algorithm>

#include "python/fast/reading.h"

namespace tilewise::fast {

torch_abi::Functions torch = {};

namespace {

int32_t dtype_of(int32_t type) {
  switch (type) {
    case torch_abi::kHalf:
      return TW_FLOAT16;
    case torch_abi::kFloat:
      return TW_FLOAT32;
    case torch_abi::kDouble:
      return TW_FLOAT64;
    default:
      return type == torch_abi::kBfloat ? TW_BFLOAT16 : 0;
  }
}

}  // namespace

bool look(const Held& tensor, tw_tensor& to) {
  const torch_abi::Handle handle = tensor.get();
  int64_t rank = 0, *sizes = nullptr, *strides = nullptr, held = 0, offset = 0;
  int32_t type = 0;
  to = {};
  if (torch.rank(handle, &rank) != 0 || rank < 3 || rank > 4) return false;
  if (torch.sizes(handle, &sizes) != 0 || torch.strides(handle, &strides) != 0) return false;
  if (torch.dtype(handle, &type) != 0 || torch.data(handle, &to.data) != 0) return false;
  to.dtype = dtype_of(type);
  to.rank = static_cast<int32_t>(rank);
  std::copy_n(sizes, rank, to.shape);
  std::copy_n(strides, rank, to.stride);
  if (to.dtype == 0 || !measure(to)) return false;
  if (torch.storage_bytes(handle, &held) != 0) return false;
  if (torch.storage_offset(handle, &offset) != 0) return false;
  return offset * item_bytes(to.dtype) + to.byte_size <= held;
}

bool look_at_rows(const Held& tensor, tw_tensor& to) {
  if (!look(tensor, to) || to.rank != 4) return false;
  std::swap(to.shape[1], to.shape[2]);
  std::swap(to.stride[1], to.stride[2]);
  return true;
}

bool find_place(const Held& tensor, Place& place) {
  if (torch.device(tensor.get(), &place.type) != 0) return false;
  return place.type == torch_abi::kCpu ||
         (place.type == torch_abi::kCuda && torch.device_index(tensor.get(), &place.index) == 0);
}

bool make(const Held& like, const Place& place, int64_t columns, Held& made) {
  int64_t rank = 0, *sizes = nullptr, *strides = nullptr, shape[4] = {}, stride[4] = {};
  int32_t type = 0;
  const torch_abi::Handle handle = like.get();
  if (torch.rank(handle, &rank) != 0 || rank != 4 || torch.dtype(handle, &type) != 0) return false;
  if (torch.sizes(handle, &sizes) != 0 || torch.strides(handle, &strides) != 0) return false;
  std::copy_n(sizes, 4, shape);
  shape[3] = columns;
  int order[] = {2, 1, 0};  // the last dimension is the nearest
  for (const int i : {0, 1, 0})
    if (strides[order[i]] > strides[order[i + 1]]) std::swap(order[i], order[i + 1]);
  stride[3] = 1;
  int64_t next = std::max<int64_t>(columns, 1);
  for (const int i : order) {
    stride[i] = next;
    next *= std::max<int64_t>(shape[i], 1);
  }
  return torch.empty_strided(4, shape, stride, type, place.type, place.index, made.place()) == 0;
}

}  // namespace tilewise::fast
