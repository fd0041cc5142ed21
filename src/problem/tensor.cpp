#include "problem/tensor.h"

#include "problem/structs.h"
#include "problem/text.h"

namespace tilewise {
namespace {

// The largest distance in bytes, either way, of a tensor's bytes from its first element, so that
// addresses cannot overflow.
constexpr int64 kFarthestByte = int64{1} << 60;

bool allows(Types types, DType dtype) {
  switch (types) {
    case Types::kFloat:
      return core::is_float(dtype);
    case Types::kFloat32:
      return dtype == DType::kFloat32;
    case Types::kFloat32Or64:
      return dtype == DType::kFloat32 || dtype == DType::kFloat64;
    case Types::kBool:
      return dtype == DType::kBool;
    case Types::kIndex:
      return core::is_index(dtype);
  }
  return false;
}

const char* words_for(Types types) {
  switch (types) {
    case Types::kFloat:
      return "a float type";
    case Types::kFloat32:
      return "float32";
    case Types::kFloat32Or64:
      return "float32 or float64";
    case Types::kBool:
      return "bool";
    case Types::kIndex:
      return "int32 or int64";
  }
  return "";
}

Status check_type(const tw_tensor& tensor, const Form& form) {
  if (tensor.dtype < TW_FLOAT32 || tensor.dtype > TW_INT64) {
    return invalid("%s has dtype %d, which is no tw_dtype: it must be %s.", form.name, tensor.dtype,
                   words_for(form.types));
  }
  const DType dtype = static_cast<DType>(tensor.dtype);
  if (allows(form.types, dtype)) return {};
  return invalid("%s has dtype %s but must be %s.", form.name, name_of(dtype),
                 words_for(form.types));
}

Status check_sizes(const tw_tensor& tensor, const Form& form, bool& empty) {
  for (int32 k = 0; k < tensor.rank; ++k) {
    const int64 size = tensor.shape[k];
    if (size < 0) {
      return invalid("%s has size %lld in dimension %d: sizes must be 0 or more.", form.name, size,
                     k);
    }
    if (size >= kFarthest) {
      return invalid("%s has size %lld in dimension %d: sizes must be below 2^40.", form.name, size,
                     k);
    }
    empty = empty || size == 0;
  }
  const int32 last = tensor.rank - 1;
  if (empty || tensor.shape[last] == 1 || tensor.stride[last] == 1) return {};
  return invalid(
      "%s has stride %lld in its last dimension: that dimension must be contiguous "
      "(stride 1); copy the tensor or transpose it back.",
      form.name, int64{tensor.stride[last]});
}

// Sets the range of bytes that the tensor touches, relative to the address of its first element.
// Returns false if a byte is farther away than kFarthestByte.
bool reach(const tw_tensor& tensor, int64& lowest, int64& highest) {
  const int64 bytes = core::bytes_of(static_cast<DType>(tensor.dtype));
  lowest = 0;
  highest = bytes;
  for (int32 k = 0; k < tensor.rank; ++k) {
    if (tensor.shape[k] <= 1) continue;
    int64 far = 0;
    if (__builtin_mul_overflow(int64{tensor.shape[k] - 1}, int64{tensor.stride[k]}, &far))
      return false;
    if (__builtin_mul_overflow(far, bytes, &far)) return false;
    int64& end = far < 0 ? lowest : highest;
    if (__builtin_add_overflow(end, far, &end)) return false;
  }
  return -kFarthestByte <= lowest && highest <= kFarthestByte;
}

Status check_extent(const tw_tensor& tensor, const Form& form) {
  int64 lowest = 0, highest = 0;
  if (!reach(tensor, lowest, highest)) {
    return invalid("%s reaches over more than 2^60 bytes by its shape and strides: check both.",
                   form.name);
  }
  if (tensor.byte_offset > kFarthestByte) {
    return invalid("%s has byte_offset %lld: it must be at most 2^60.", form.name,
                   int64{tensor.byte_offset});
  }
  if (tensor.byte_size == 0) return {};
  lowest += tensor.byte_offset;
  highest += tensor.byte_offset;
  if (lowest >= 0 && highest <= tensor.byte_size) return {};
  return invalid(
      "%s touches bytes %lld to %lld by its shape and strides, but its buffer has %lld "
      "bytes (byte_size): it must stay inside.",
      form.name, lowest, highest - 1, int64{tensor.byte_size});
}

Status check_memory(const tw_tensor& tensor, const Form& form, const Buffers& buffers) {
  if (!tensor.data && !buffers.given) return {};
  if (!tensor.data) return invalid("%s has no data: its pointer is null.", form.name);
  const int64 bytes = core::bytes_of(static_cast<DType>(tensor.dtype));
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.data) +
                       static_cast<std::uintptr_t>(tensor.byte_offset);
  if (address % static_cast<std::uintptr_t>(bytes) == 0) return {};
  return invalid(
      "%s begins at an address that is no multiple of %lld, the bytes of its %s "
      "elements: align it.",
      form.name, bytes, name_of(static_cast<DType>(tensor.dtype)));
}

bool fits(int64 size, int64 wanted, bool ones, bool more) {
  return size == wanted || (ones && size == 1) || (more && size > wanted);
}

Status wrong_shape(const View& view, const Form& form, const Wanted& wanted) {
  // The two texts look like "(2, 4 or 1, at least 7)".
  char given[192], allowed[192];
  Text has(given, sizeof given), must(allowed, sizeof allowed);
  for (int32 k = 0; k < form.layout.rank; ++k) {
    const auto axis = form.layout.axis[k];
    const int64 want = wanted.size.*axis;
    const char* comma = k == 0 ? "" : ", ";
    has.add("%s%lld", comma, view.size.*axis);
    must.add("%s%s%lld%s", comma, wanted.more(axis) ? "at least " : "", want,
             wanted.ones && want != 1 ? " or 1" : "");
  }
  return invalid("%s has shape (%s) but must be (%s): %s.", form.name, given, allowed,
                 form.layout.shape);
}

}  // namespace

const char* name_of(DType dtype) {
  static constexpr const char* kNames[] = {"none",     "float32",     "float64",     "float16",
                                           "bfloat16", "float8_e4m3", "float8_e5m2", "bool",
                                           "int32",    "int64"};
  return kNames[static_cast<int32>(dtype)];
}

namespace {

void fill(const tw_tensor& tensor, const Layout& layout, View& view) {
  view.dtype = static_cast<DType>(tensor.dtype);
  if (tensor.data) view.data = static_cast<std::byte*>(tensor.data) + tensor.byte_offset;
  view.size = {1, 1, 1, 1};
  bool empty = false;
  for (int32 k = 0; k < layout.rank; ++k) empty = empty || tensor.shape[k] == 0;
  for (int32 k = 0; k < layout.rank; ++k) {
    view.size.*layout.axis[k] = tensor.shape[k];
    view.stride.*layout.axis[k] = empty || tensor.shape[k] == 1 ? 0 : tensor.stride[k];
  }
}

}  // namespace

View view_of(const tw_tensor& tensor, const Layout& layout) {
  View view;
  fill(tensor, layout, view);
  return view;
}

Status check_tensor(const tw_tensor& tensor, const Form& form, const Buffers& buffers, View& view) {
  view = {};
  if (tensor.rank == 0) return {};
  if (tensor.rank != form.layout.rank) {
    return invalid("%s has rank %d but must have rank %d: %s.", form.name, tensor.rank,
                   form.layout.rank, form.layout.shape);
  }
  for (const int64 reserved : tensor.reserved) {
    if (reserved != 0) {
      return unsupported(
          "%s uses reserved bytes of tw_tensor, which belong to a newer tilewise: "
          "update tilewise or leave them 0.",
          form.name);
    }
  }
  TW_TRY(check_type(tensor, form));
  bool empty = false;
  TW_TRY(check_sizes(tensor, form, empty));
  if (tensor.byte_size < 0 || tensor.byte_offset < 0) {
    return invalid("%s has byte_offset %lld and byte_size %lld: neither may be negative.",
                   form.name, int64{tensor.byte_offset}, int64{tensor.byte_size});
  }
  if (!empty) {
    TW_TRY(check_extent(tensor, form));
    TW_TRY(check_memory(tensor, form, buffers));
  }
  fill(tensor, form.layout, view);
  view.on_device = form.types == Types::kIndex ? buffers.tables_on_device : buffers.on_device;
  return {};
}

Status check_shape(const View& view, const Form& form, const Wanted& wanted) {
  bool good = true;
  for (int32 k = 0; k < form.layout.rank; ++k) {
    const auto axis = form.layout.axis[k];
    good = good && fits(view.size.*axis, wanted.size.*axis, wanted.ones, wanted.more(axis));
  }
  return good ? Status{} : wrong_shape(view, form, wanted);
}

}  // namespace tilewise
