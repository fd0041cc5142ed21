// An array of any framework as a tw_tensor.
#pragma once
#include <tilewise/tilewise.h>

#include "python/fast/frameworks.h"

namespace tilewise::fast {

// What an array says of itself.
struct View {
  tw_tensor tensor;
  tw_device device;
  bool is_writable;
  bool is_pair;  // of integers of 64 bits, whatever their sign: what a dropout state is
};

// Reads an array. False without an exception if it is a wrapper without memory of its own, has a
// type or layout that the library does not take, or has no dimension: Python's slower way takes the
// call.
bool read(const Framework& framework, PyObject* array, View& view);

// Whether the array's storage still has all that was read; it may have been freed or shrunk.
bool is_held(const Framework& framework, PyObject* array, const View& view);

// Bytes of an element of this tw_dtype.
int64_t item_bytes(int32_t dtype);

// Sets the bytes that the tensor spans, by which the library checks it. False for a tensor that has
// elements but no memory (fake, meta and zero tensors) or whose last dimension is not contiguous.
bool measure(tw_tensor& tensor);

}  // namespace tilewise::fast
