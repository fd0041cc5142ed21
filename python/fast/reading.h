// An array of any framework as a tw_tensor.
#pragma once
#include <tilewise/tilewise.h>

#include "python/fast/frameworks.h"

namespace tilewise::fast {

// What one array says of itself.
struct View {
  tw_tensor tensor;
  tw_device device;
  bool is_writable;
  bool is_pair;  // of integers of 64 bits, whatever their sign: what a dropout state is
};

// False when the array cannot be read here and now, for any reason: it is a wrapper without memory
// of its own, of a type or layout that the library does not take, or it has no dimension. Then no
// exception is set: whoever asks hands the call to Python, which copies or says what is wrong.
bool read(const Framework& framework, PyObject* array, View& view);

// Whether the memory that was read is the array's: a storage may have been freed or shrunk below
// its views.
bool is_held(const Framework& framework, PyObject* array, const View& view);

// The bytes of an element, by tw_dtype.
int64_t item_bytes(int32_t dtype);

// The buffer that a tensor spans, for the library checks what it touches. False for one that has
// elements and no memory, as fake, meta and zero tensors have, and where the last dimension is not
// contiguous.
bool measure(tw_tensor& tensor);

}  // namespace tilewise::fast
