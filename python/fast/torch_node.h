// Attention and its gradients as kernels of operators of torch, which makes torch's own node of C++
// the way of gradients: no Python in it.
#pragma once
#include "python/fast/python.h"

namespace tilewise::fast {

// implement(address of each of torch_abi's functions, ...) -> None: gives torch the kernels, for
// good.
PyObject* implement(PyObject* module, PyObject* addresses);

// TORCH_FUNCTIONS: the names of these functions, in order. False: an exception is set.
bool describe_torch(PyObject* module);

}  // namespace tilewise::fast
