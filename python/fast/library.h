// The functions of libtilewise, at addresses that ctypes found. Nothing is linked, so
// TILEWISE_LIBRARY and Python's check of the version hold for this module, too.
#pragma once
#include <tilewise/tilewise.h>

#include "python/fast/python.h"

namespace tilewise::fast {

using Function = tw_status (*)(const tw_request*, const tw_execution*, char*, size_t);
using Question = tw_status (*)(tw_operation, const tw_request*, const tw_execution*, size_t*, char*,
                               size_t);

struct Library {
  Function forward, backward;
  Question workspace;
  tw_status (*rotary)(const tw_rotary_request*, const tw_execution*, char*, size_t);
  tw_status (*append)(const tw_append_request*, const tw_execution*, char*, size_t);
  PyObject* refuse;  // (status, message): raises what a status stands for
};
const Library& library();

// connect(forward, backward, workspace, rotary, append, refuse): five addresses and a function.
PyObject* connect(PyObject* module, PyObject* arguments);

}  // namespace tilewise::fast
