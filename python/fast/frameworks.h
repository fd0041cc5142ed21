// The types of arrays that are known, how each is read, and how new arrays are made.
#pragma once
#include "python/fast/dlpack.h"
#include "python/fast/python.h"

namespace tilewise::fast {

// How arrays of a type are read, and how long a reading takes on a processor of 2020.
enum class Protocol {
  kExchange,     // __dlpack_c_exchange_api__: torch from 2.10; 0.05 us
  kArrayStruct,  // __array_struct__: NumPy; 0.08 us
  kAttributes    // data_ptr(), shape, ...: torch before 2.10; 0.6 us
};

// One exact type. Subclasses have meanings of their own, so Python's slower way takes them.
struct Framework {
  PyTypeObject* type;
  Protocol protocol;
  int family;                        // types of one framework share it
  const dlpack::Exchange* exchange;  // null unless the protocol is kExchange
  PyObject* dtypes;                  // {dtype: tw_dtype}, which Python may add to
  PyObject* empty_like;              // (array) -> array
  PyObject* make;                    // (array, shape, tw_dtype, fill) -> array on its device
  PyObject* stream;                  // (device index) -> int, or null
  bool has_storages;                 // arrays are views of storages, as torch's are
};

// What `make` fills an array with.
enum class Fill { kNothing = 0, kZero = 1, kMinusInfinity = 2 };

// The row of an array's type; null without an exception if there is none.
const Framework* framework_of(PyObject* array);

// adopt(types, family, dtypes, empty_like, make, stream | None) -> the names of the protocol.
PyObject* adopt(PyObject* module, PyObject* arguments);

// Makes the names of all attributes that are read, once. False: an exception is set.
bool intern_names();
struct StorageNames {
  PyObject *untyped_storage, *nbytes, *storage_offset;
};
struct NodeNames {  // of a node of torch's graph
  PyObject *save_for_backward, *saved_tensors, *needs_input_grad, *call, *materialize_grads;
};
struct Names {
  PyObject *exchange, *data_ptr, *shape, *stride, *dtype, *get_device, *array_struct, *new_empty;
  StorageNames storage;
  NodeNames node;
};
const Names& names();

}  // namespace tilewise::fast
