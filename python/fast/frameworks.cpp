#include "python/fast/frameworks.h"

namespace tilewise::fast {
namespace {

constexpr int kMostTypes = 16;
// The GIL guards these. Rows are never removed: the types are few and live as long as the process.
Framework frameworks[kMostTypes];
int framework_count = 0;
Names interned = {};

const dlpack::Exchange* exchange_of(PyObject* type) {
  const Reference capsule = PyObject_GetAttr(type, interned.exchange);
  void* found = capsule ? PyCapsule_GetPointer(capsule.get(), "dlpack_exchange_api") : nullptr;
  PyErr_Clear();
  const auto* exchange = static_cast<const dlpack::Exchange*>(found);
  while (exchange != nullptr && exchange->version.major != dlpack::kMajor)
    exchange = exchange->previous;
  return exchange != nullptr && exchange->tensor_from_object != nullptr ? exchange : nullptr;
}

PyObject* kept(PyObject* object) {
  return object == Py_None ? nullptr : share(object).release();
}

}  // namespace

const Names& names() {
  return interned;
}

bool intern_names() {
  const std::pair<PyObject**, const char*> texts[] = {
      {&interned.exchange, "__dlpack_c_exchange_api__"},
      {&interned.data_ptr, "data_ptr"},
      {&interned.shape, "shape"},
      {&interned.stride, "stride"},
      {&interned.dtype, "dtype"},
      {&interned.get_device, "get_device"},
      {&interned.array_struct, "__array_struct__"},
      {&interned.storage.untyped_storage, "untyped_storage"},
      {&interned.storage.nbytes, "nbytes"},
      {&interned.storage.storage_offset, "storage_offset"},
      {&interned.new_empty, "new_empty"},
      {&interned.node.save_for_backward, "save_for_backward"},
      {&interned.node.saved_tensors, "saved_tensors"},
      {&interned.node.needs_input_grad, "needs_input_grad"},
      {&interned.node.call, "call"},
      {&interned.node.materialize_grads, "materialize_grads"}};
  for (const auto& [place, text] : texts) {
    *place = PyUnicode_InternFromString(text);
    if (*place == nullptr) return false;
  }
  return true;
}

const Framework* framework_of(PyObject* array) {
  const PyTypeObject* type = Py_TYPE(array);
  for (int i = 0; i < framework_count; ++i)
    if (frameworks[i].type == type) return &frameworks[i];
  return nullptr;
}

PyObject* adopt(PyObject*, PyObject* arguments) {
  PyObject *types = nullptr, *dtypes = nullptr, *empty_like = nullptr, *make = nullptr,
           *stream = nullptr;
  int family = 0;
  if (PyArg_ParseTuple(arguments, "O!iO!OOO", &PyTuple_Type, &types, &family, &PyDict_Type, &dtypes,
                       &empty_like, &make, &stream) == 0)
    return nullptr;
  const char* said = "nothing";
  for (Py_ssize_t i = 0; i < PyTuple_Size(types); ++i) {
    PyObject* type = PyTuple_GetItem(types, i);
    if (framework_count == kMostTypes || PyType_Check(type) == 0) {
      PyErr_SetString(PyExc_TypeError, "adopt takes a few types of arrays.");
      return nullptr;
    }
    const dlpack::Exchange* exchange = exchange_of(type);
    Protocol protocol = Protocol::kAttributes;
    said = "attributes";
    if (exchange != nullptr) {
      protocol = Protocol::kExchange;
      said = "exchange";
    } else if (PyObject_HasAttr(type, interned.array_struct) != 0) {
      protocol = Protocol::kArrayStruct;
      said = "array struct";
    }
    auto* held = reinterpret_cast<PyTypeObject*>(kept(type));
    frameworks[framework_count++] = {
        held,       protocol,     family,
        exchange,   kept(dtypes), kept(empty_like),
        kept(make), kept(stream), PyObject_HasAttr(type, interned.storage.untyped_storage) != 0};
  }
  return PyUnicode_FromString(said);
}

}  // namespace tilewise::fast
