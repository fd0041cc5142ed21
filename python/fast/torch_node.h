// Attention and its gradients as kernels of torch's operators, so that torch's C++ autograd node
// computes the gradients without Python.
#pragma once
#include "python/fast/python.h"

namespace tilewise::fast {

// implement(address of each of torch_abi's functions, ...) -> None: gives torch the kernels, for
// good.
PyObject* implement(PyObject* module, PyObject* addresses);

// TORCH_FUNCTIONS: the names of these functions, in order. False: an exception is set.
bool describe_torch(PyObject* module);

}  // namespace tilewise::fast
