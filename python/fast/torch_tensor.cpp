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

// Whether the storage has all that a tensor spans. Strides in torch are never negative.
bool is_held(torch_abi::Handle handle, const tw_tensor& tensor) {
  int64_t held = 0, end = 1;
  if (torch.storage_bytes(handle, &held) != 0 || torch.storage_offset(handle, &end) != 0)
    return false;
  ++end;
  for (int i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] == 0) return true;
    end += (tensor.shape[i] - 1) * tensor.stride[i];
  }
  return tensor.data != nullptr && end * item_bytes(tensor.dtype) <= held;
}

bool lies_in(const Place& place, const Held& tensor) {
  Place own;
  return find_place(tensor, own) == Seen::kFine && own.type == place.type &&
         own.index == place.index;
}

void swap_middle(tw_tensor& rows) {
  std::swap(rows.shape[1], rows.shape[2]);
  std::swap(rows.stride[1], rows.stride[2]);
}

}  // namespace

bool is_defined(const Held& tensor) {
  bool found = false;
  return tensor.get() != nullptr && torch.is_defined(tensor.get(), &found) == 0 && found;
}

bool has_elements(const Held& tensor) {
  int64_t count = 0;
  return is_defined(tensor) && torch.elements(tensor.get(), &count) == 0 && count > 0;
}

Seen look(const Held& tensor, tw_tensor& to) {
  const torch_abi::Handle handle = tensor.get();
  int64_t rank = 0, *sizes = nullptr, *strides = nullptr;
  int32_t type = 0;
  to = {};
  if (!is_defined(tensor)) return Seen::kUndefined;
  if (torch.rank(handle, &rank) != 0 || rank < 3 || rank > 4) return Seen::kOfWrongRank;
  if (torch.dtype(handle, &type) != 0 || dtype_of(type) == 0) return Seen::kOfWrongType;
  if (torch.sizes(handle, &sizes) != 0 || torch.strides(handle, &strides) != 0 ||
      torch.data(handle, &to.data) != 0)
    return Seen::kWithoutMemory;
  to.dtype = dtype_of(type);
  to.rank = static_cast<int32_t>(rank);
  std::copy_n(sizes, rank, to.shape);
  std::copy_n(strides, rank, to.stride);
  if (!is_held(handle, to)) return Seen::kWithoutMemory;
  return measure(to) ? Seen::kFine : Seen::kSpread;
}

Seen look_at_rows(Held& tensor, const Place& place, tw_tensor& to) {
  const Seen seen = look(tensor, to);
  if (seen != Seen::kFine && seen != Seen::kSpread) return seen;
  if (to.rank != 4) return Seen::kOfWrongRank;
  if (!lies_in(place, tensor)) return Seen::kElsewhere;
  if (seen == Seen::kFine) {
    swap_middle(to);
    return seen;
  }
  Held copy;
  const Seen made = make(tensor, place, {to.shape[3], lay_rows_first}, copy, to);
  if (made != Seen::kFine) return made;
  if (torch.copy(copy.get(), tensor.get(), 0) != 0) return Seen::kWithoutMemory;
  std::swap(*tensor.place(), *copy.place());
  return made;
}

Seen look_at_lse(const Held& tensor, const Place& place, tw_tensor& to) {
  const Seen seen = look(tensor, to);
  return seen == Seen::kFine && !lies_in(place, tensor) ? Seen::kElsewhere : seen;
}

Seen find_place(const Held& tensor, Place& place) {
  if (!is_defined(tensor)) return Seen::kUndefined;
  const bool is_known =
      torch.device(tensor.get(), &place.type) == 0 &&
      (place.type == torch_abi::kCpu ||
       (place.type == torch_abi::kCuda && torch.device_index(tensor.get(), &place.index) == 0));
  return is_known ? Seen::kFine : Seen::kElsewhere;
}

Seen make(const Held& like, const Place& place, New asked, Held& made, tw_tensor& rows) {
  int64_t rank = 0, *sizes = nullptr, *strides = nullptr, shape[4] = {}, stride[4] = {};
  int32_t type = 0;
  const torch_abi::Handle handle = like.get();
  if (torch.rank(handle, &rank) != 0 || rank != 4) return Seen::kOfWrongRank;
  if (torch.dtype(handle, &type) != 0 || torch.sizes(handle, &sizes) != 0 ||
      torch.strides(handle, &strides) != 0)
    return Seen::kWithoutMemory;
  std::copy_n(sizes, 4, shape);
  shape[3] = asked.columns;
  asked.layout({sizes, strides, shape}, stride);
  if (torch.empty_strided(4, shape, stride, type, place.type, place.index, made.place()) != 0)
    return Seen::kUnmade;
  const Seen seen = look(made, rows);
  swap_middle(rows);
  return seen;
}

}  // namespace tilewise::fast
