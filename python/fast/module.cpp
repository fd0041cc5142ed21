// tilewise._fast: attention and its gradients on the arrays of any framework, for little more than
// the library's own call takes. What it cannot read it hands back as NotImplemented: Python's
// slower way then copies, or says what is wrong.
#include "python/fast/call.h"
#include "python/fast/library.h"

namespace tilewise::fast {
namespace {

Library connected = {};

PyObject* not_implemented() {
  if (PyErr_Occurred() != nullptr) return nullptr;
  return share(Py_NotImplemented).release();
}

bool has(Py_ssize_t count, Py_ssize_t wanted, const char* name) {
  if (count != wanted)
    PyErr_Format(PyExc_TypeError, "%s takes %d arguments.", name, static_cast<int>(wanted));
  else if (connected.forward == nullptr)
    PyErr_SetString(PyExc_RuntimeError, "The library is not connected.");
  return count == wanted && connected.forward != nullptr;
}

// forward(form, flags, query, key, value, out | None, lse | True | None, pairs | None)
//   -> output, or (output, lse) where lse is True
PyObject* forward(PyObject*, PyObject* const* given, Py_ssize_t count) {
  if (!has(count, 8, "forward")) return nullptr;
  PyObject *query = given[2], *out = given[5], *lse = given[6];
  Call call;
  if (!call.begin(given[0], given[1])) return nullptr;
  for (int i = 0; i < 3; ++i)
    if (!call.put(kQuery + i, given[2 + i])) return not_implemented();
  if (!call.put_all(given[7]) || !call.is_shaped()) return not_implemented();
  Reference output = out == Py_None ? call.make_output(query) : share(out);
  if (!output || (out != Py_None && !call.put(kOut, out))) return not_implemented();
  Reference row = lse == Py_True ? call.make_lse(query) : share(lse);
  if (!row || (lse != Py_True && lse != Py_None && !call.put(kLseOut, lse)))
    return not_implemented();
  if (!call.run(TW_FORWARD, query)) return not_implemented();
  return lse == Py_True ? PyTuple_Pack(2, output.get(), row.get()) : output.release();
}

// backward(form, flags, output gradient, query, key, value, output, lse, pairs | None, wanted,
//          (bias, slopes, sinks) | None)
//   -> the six gradients of query, key, value, bias, slopes, sinks, None where not wanted
// wanted: a bit for each; bias, slopes and sinks are the ones in pairs, whose gradients are made.
PyObject* backward(PyObject*, PyObject* const* given, Py_ssize_t count) {
  if (!has(count, 11, "backward")) return nullptr;
  Call call;
  if (!call.begin(given[0], given[1])) return nullptr;
  for (int i = 0; i < 3; ++i)
    if (!call.put(kQuery + i, given[3 + i])) return not_implemented();
  if (!call.put(kOutput, given[6]) || !call.put(kLse, given[7]) ||
      !call.put(kOutputGradient, given[2]))
    return not_implemented();
  if (!call.put_all(given[8]) || !call.is_shaped()) return not_implemented();
  const long wanted = PyLong_AsLong(given[9]);
  if (PyErr_Occurred() != nullptr) return nullptr;
  Reference gradients[kGradientCount];
  for (int i = 0; i < kGradientCount; ++i) {
    if ((wanted >> i & 1) == 0) {
      gradients[i] = share(Py_None);
      continue;
    }
    PyObject* like = i < 3 ? given[3 + i] : PyTuple_GetItem(given[10], i - 3);
    if (like == nullptr) return nullptr;
    gradients[i] = call.make_gradient(i, like);
    if (!gradients[i]) return not_implemented();
  }
  if (!call.run(TW_BACKWARD, given[3])) return not_implemented();
  return PyTuple_Pack(kGradientCount, gradients[0].get(), gradients[1].get(), gradients[2].get(),
                      gradients[3].get(), gradients[4].get(), gradients[5].get());
}

// fits(form, flags, query, key, value) -> whether forward would take these as they lie
PyObject* fits(PyObject*, PyObject* const* given, Py_ssize_t count) {
  if (!has(count, 5, "fits")) return nullptr;
  Call call;
  if (!call.begin(given[0], given[1])) return nullptr;
  bool all = true;
  for (int i = 0; i < 3; ++i) all = all && call.put(kQuery + i, given[2 + i]);
  all = all && call.put_all(Py_None) && call.is_shaped();
  if (PyErr_Occurred() != nullptr) return nullptr;
  return share(all ? Py_True : Py_False).release();
}

// rotary(form, flags, x, cosine, sine, out | None, pairs | None) -> out
PyObject* rotary(PyObject*, PyObject* const* given, Py_ssize_t count) {
  if (!has(count, 7, "rotary")) return nullptr;
  Call call;
  if (!call.begin(given[0], given[1])) return nullptr;
  if (!call.put(kX, given[2]) || !call.put(kCosine, given[3]) || !call.put(kSine, given[4]) ||
      !call.put_all(given[6]))
    return not_implemented();
  Reference out = given[5] == Py_None ? call.make_rotated(kX, given[2]) : share(given[5]);
  if (!out || !call.put(kRotaryOut, out.get()) || !call.run_rotary()) return not_implemented();
  return out.release();
}

// append(form, flags, key, value, key cache, value cache, lengths, (cosine, sine) | None,
//        query | None, out | None, pairs | None) -> out, or None without a query
PyObject* append(PyObject*, PyObject* const* given, Py_ssize_t count) {
  if (!has(count, 11, "append")) return nullptr;
  PyObject *tables = given[7], *query = given[8];
  Call call;
  if (!call.begin(given[0], given[1])) return nullptr;
  for (int i = 0; i < 5; ++i)
    if (!call.put(kNewKey + i, given[2 + i])) return not_implemented();
  for (int i = 0; i < 2 && tables != Py_None; ++i) {
    PyObject* table = PyTuple_GetItem(tables, i);  // borrowed
    if (table == nullptr || !call.put(kCosine + i, table)) return not_implemented();
  }
  if (!call.put_all(given[10])) return not_implemented();
  Reference out = share(given[9]);
  if (query != Py_None) {
    if (!call.put(kNewQuery, query)) return not_implemented();
    if (out.get() == Py_None) out = call.make_rotated(kNewQuery, query);
    if (!out || !call.put(kRotated, out.get())) return not_implemented();
  }
  if (!call.run_append()) return not_implemented();
  return out.release();
}

using Fast = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);
PyCFunction fast(Fast function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {{"forward", fast(forward), METH_FASTCALL, nullptr},
                         {"backward", fast(backward), METH_FASTCALL, nullptr},
                         {"fits", fast(fits), METH_FASTCALL, nullptr},
                         {"rotary", fast(rotary), METH_FASTCALL, nullptr},
                         {"append", fast(append), METH_FASTCALL, nullptr},
                         {"adopt", adopt, METH_VARARGS, nullptr},
                         {"connect", connect, METH_VARARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};
PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_fast", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

// SLOTS: the names of the slots in order, then those of the two numbers. FORM_BYTES: sizeof(Form).
bool describe(PyObject* module) {
  Reference slots = PyTuple_New(kSlotCount + 2);
  if (!slots) return false;
  for (int i = 0; i < kSlotCount + 2; ++i) {
    const char* numbers[] = {"seed", "dropout_offset"};
    PyObject* name =
        PyUnicode_FromString(i < kSlotCount ? kSlots[i].name : numbers[i - kSlotCount]);
    if (name == nullptr || PyTuple_SetItem(slots.get(), i, name) != 0) return false;
  }
  if (PyModule_AddObject(module, "SLOTS", slots.get()) != 0) return false;
  slots.release();
  return PyModule_AddIntConstant(module, "FORM_BYTES", static_cast<long>(sizeof(Form))) == 0;
}

}  // namespace

const Library& library() {
  return connected;
}

PyObject* connect(PyObject*, PyObject* arguments) {
  PyObject *addresses[5] = {}, *refuse = nullptr;
  if (PyArg_UnpackTuple(arguments, "connect", 6, 6, &addresses[0], &addresses[1], &addresses[2],
                        &addresses[3], &addresses[4], &refuse) == 0)
    return nullptr;
  void* found[5] = {};
  for (int i = 0; i < 5; ++i) found[i] = PyLong_AsVoidPtr(addresses[i]);
  if (PyErr_Occurred() != nullptr) return nullptr;
  connected = {reinterpret_cast<Function>(found[0]),
               reinterpret_cast<Function>(found[1]),
               reinterpret_cast<Question>(found[2]),
               reinterpret_cast<decltype(Library::rotary)>(found[3]),
               reinterpret_cast<decltype(Library::append)>(found[4]),
               share(refuse).release()};
  return share(Py_None).release();
}

}  // namespace tilewise::fast

// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): Python's name.
PyMODINIT_FUNC PyInit__fast() {
  using namespace tilewise::fast;
  if (!intern_names()) return nullptr;
  Reference module = PyModule_Create(&definition);
  return module && describe(module.get()) ? module.release() : nullptr;
}
