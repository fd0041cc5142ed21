#include "python/fast/reading.h"

namespace tilewise::fast {
namespace {

int32_t dtype_of(int code, int bits) {
  switch (code) {
    case dlpack::kFloat:
      if (bits == 32) return TW_FLOAT32;
      if (bits == 16) return TW_FLOAT16;
      return bits == 64 ? TW_FLOAT64 : 0;
    case dlpack::kBfloat:
      return bits == 16 ? TW_BFLOAT16 : 0;
    case dlpack::kE4m3:
      return TW_FLOAT8_E4M3;
    case dlpack::kE5m2:
      return TW_FLOAT8_E5M2;
    case dlpack::kBool:
      return TW_BOOL;
    case dlpack::kInt:
      if (bits == 32) return TW_INT32;
      return bits == 64 ? TW_INT64 : 0;
    default:
      return 0;
  }
}

bool is_rank(int64_t rank) {
  return rank >= 1 && rank <= 4;
}

int32_t dtype_in(const Framework& framework, PyObject* array) {
  const Reference dtype = PyObject_GetAttr(array, names().dtype);
  PyObject* code = dtype ? PyDict_GetItemWithError(framework.dtypes, dtype.get()) : nullptr;
  return code != nullptr ? static_cast<int32_t>(PyLong_AsLong(code)) : 0;
}

bool read_exchange(const Framework& framework, PyObject* array, View& view) {
  dlpack::Tensor from = {};
  if (framework.exchange->tensor_from_object(array, &from) != 0 || !is_rank(from.rank))
    return false;
  tw_tensor& to = view.tensor;
  to.dtype = dtype_of(from.dtype.code, from.dtype.bits);
  if (from.dtype.lanes != 1) return false;
  const bool on_cpu = from.device_type == dlpack::kCpu || from.device_type == dlpack::kCudaHost;
  if (!on_cpu && from.device_type != dlpack::kCuda) return false;
  view.device = {on_cpu ? TW_CPU : TW_CUDA, on_cpu ? 0 : from.device_index};
  to.data = static_cast<char*>(from.data) + from.byte_offset;
  to.rank = from.rank;
  int64_t next = 1;
  for (int i = from.rank - 1; i >= 0; --i) {
    to.shape[i] = from.shape[i];
    to.stride[i] = from.strides != nullptr ? from.strides[i] : next;
    next *= from.shape[i];
  }
  view.is_writable = true;
  const bool is_integer = from.dtype.code == dlpack::kInt || from.dtype.code == dlpack::kUInt;
  view.is_pair = is_integer && from.dtype.bits == 64 && from.rank == 1 && to.shape[0] == 2;
  return true;
}

// NumPy's oldest C face, unchanged since 2005: array.__array_struct__.
struct ArrayStruct {
  int two, rank;
  char kind;
  int item_bytes, flags;
  Py_intptr_t *shape, *strides;
  void* data;
  PyObject* description;
};

bool read_array_struct(const Framework& framework, PyObject* array, View& view) {
  const Reference capsule = PyObject_GetAttr(array, names().array_struct);
  if (!capsule) return false;
  const auto* from = static_cast<const ArrayStruct*>(PyCapsule_GetPointer(capsule.get(), nullptr));
  constexpr int kAligned = 0x100, kNativeOrder = 0x200, kWriteable = 0x400;
  if (from == nullptr || !is_rank(from->rank)) return false;
  if ((from->flags & kAligned) == 0 || (from->flags & kNativeOrder) == 0) return false;
  tw_tensor& to = view.tensor;
  const int bits = 8 * from->item_bytes;
  if (from->kind == 'f') to.dtype = dtype_of(dlpack::kFloat, bits);
  if (from->kind == 'b') to.dtype = TW_BOOL;
  if (from->kind == 'i') to.dtype = dtype_of(dlpack::kInt, bits);
  if (from->kind == 'V') to.dtype = dtype_in(framework, array);  // one of ml_dtypes' types
  to.data = from->data;
  to.rank = from->rank;
  for (int i = 0; i < from->rank; ++i) {
    if (from->strides[i] % from->item_bytes != 0) return false;
    to.shape[i] = from->shape[i];
    to.stride[i] = from->strides[i] / from->item_bytes;
  }
  view.device = {TW_CPU, 0};
  view.is_writable = (from->flags & kWriteable) != 0;
  view.is_pair = from->kind == 'u' && bits == 64 && from->rank == 1 && to.shape[0] == 2;
  return true;
}

bool read_tuple(PyObject* tuple, int64_t* to, int32_t& rank) {
  const Py_ssize_t size = PyTuple_Size(tuple);
  if (!is_rank(size)) return false;
  for (Py_ssize_t i = 0; i < size; ++i) to[i] = PyLong_AsLongLong(PyTuple_GetItem(tuple, i));
  rank = static_cast<int32_t>(size);
  return true;
}

bool read_attributes(const Framework& framework, PyObject* array, View& view) {
  const Reference data = PyObject_CallMethodObjArgs(array, names().data_ptr, nullptr);
  const Reference shape = data ? PyObject_GetAttr(array, names().shape) : nullptr;
  const Reference stride =
      shape ? PyObject_CallMethodObjArgs(array, names().stride, nullptr) : nullptr;
  const Reference device =
      stride ? PyObject_CallMethodObjArgs(array, names().get_device, nullptr) : nullptr;
  if (!device) return false;
  tw_tensor& to = view.tensor;
  to.dtype = dtype_in(framework, array);
  to.data = PyLong_AsVoidPtr(data.get());
  if (!read_tuple(shape.get(), to.shape, to.rank)) return false;
  if (!read_tuple(stride.get(), to.stride, to.rank)) return false;
  const long index = PyLong_AsLong(device.get());  // -1 on the processor
  view.device = {index < 0 ? TW_CPU : TW_CUDA, index < 0 ? 0 : static_cast<int32_t>(index)};
  view.is_writable = true;
  view.is_pair = to.dtype == TW_INT64 && to.rank == 1 && to.shape[0] == 2;
  return PyErr_Occurred() == nullptr;
}

void look_contiguous(tw_tensor& tensor) {
  int64_t next = 1;
  for (int i = tensor.rank - 1; i >= 0; --i) {
    tensor.stride[i] = next;
    next *= tensor.shape[i] > 0 ? tensor.shape[i] : 1;
  }
}

bool describe(const Framework& framework, PyObject* array, View& view) {
  switch (framework.protocol) {
    case Protocol::kExchange:
      return read_exchange(framework, array, view);
    case Protocol::kArrayStruct:
      return read_array_struct(framework, array, view);
    default:
      return read_attributes(framework, array, view);
  }
}

// Clears the exception of an array that cannot be read, because Python's slower way judges the
// array. An interrupt or MemoryError stays.
void forget_error() {
  if (PyErr_Occurred() == nullptr || PyErr_ExceptionMatches(PyExc_Exception) == 0) return;
  if (PyErr_ExceptionMatches(PyExc_MemoryError) == 0) PyErr_Clear();
}

}  // namespace

int64_t item_bytes(int32_t dtype) {
  constexpr int64_t kBytes[] = {8, 4, 8, 2, 2, 1, 1, 1, 4, 8};  // by tw_dtype; 0: View::is_pair
  return kBytes[dtype];
}

bool measure(tw_tensor& tensor) {
  const int64_t item = item_bytes(tensor.dtype);
  int64_t low = 0, high = item;
  bool is_empty = false;
  for (int i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] <= 0) is_empty = true;
    const int64_t reach = (tensor.shape[i] - 1) * tensor.stride[i] * item;
    (reach < 0 ? low : high) += reach;
  }
  if (is_empty) {
    look_contiguous(tensor);
    return true;
  }
  const int last = tensor.rank - 1;
  if (tensor.data == nullptr || (tensor.shape[last] > 1 && tensor.stride[last] != 1)) return false;
  tensor.data = static_cast<char*>(tensor.data) + low;
  tensor.byte_offset = -low;
  tensor.byte_size = high - low;
  return true;
}

bool read(const Framework& framework, PyObject* array, View& view) {
  view = {};
  if (!describe(framework, array, view)) {
    forget_error();
    return false;
  }
  if (view.tensor.dtype == 0 && !view.is_pair) return false;
  return measure(view.tensor);
}

bool is_held(const Framework& framework, PyObject* array, const View& view) {
  if (!framework.has_storages || view.tensor.byte_size == 0) return true;
  // Methods of torch that keep the GIL: one that releases it can abort a process that is ending.
  const Reference storage =
      PyObject_CallMethodObjArgs(array, names().storage.untyped_storage, nullptr);
  const Reference bytes =
      storage ? PyObject_CallMethodObjArgs(storage.get(), names().storage.nbytes, nullptr)
              : nullptr;
  const Reference offset =
      bytes ? PyObject_CallMethodObjArgs(array, names().storage.storage_offset, nullptr) : nullptr;
  const long long held = offset ? PyLong_AsLongLong(bytes.get()) : 0;
  const long long first = offset ? PyLong_AsLongLong(offset.get()) : 0;
  if (!offset || PyErr_Occurred() != nullptr) {
    forget_error();
    return false;
  }
  const tw_tensor& tensor = view.tensor;  // its strides are not negative, so it begins at `first`
  return first * item_bytes(view.tensor.dtype) + tensor.byte_size <= held;
}

}  // namespace tilewise::fast
