// tilewise._fast: attention and its gradients on arrays of any framework, for little more than the
// library's own call costs. Calls that it cannot take return NotImplemented: Python's slower way
// then copies the arrays, or says what is wrong.
#include "python/fast/attention.h"
#include "python/fast/library.h"
#include "python/fast/torch_node.h"

namespace tilewise::fast {
namespace {

Library connected = {};

PyObject* not_implemented() {
  if (PyErr_Occurred() != nullptr) return nullptr;
  return share(Py_NotImplemented).release();
}

PyObject* finished(Reference found) {
  return found ? found.release() : not_implemented();
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
  const Asked asked = {given[0], PyLong_AsLong(given[1]), given[2], given[3], given[4], given[7]};
  return finished(attend(asked, given[5], given[6]));
}

// backward(form, flags, output gradient, query, key, value, output, lse, pairs | None, wanted,
//          (bias, slopes, sinks) | None)
//   -> the six gradients of query, key, value, bias, slopes, sinks, None where not wanted
// wanted: a bit for each gradient. bias, slopes and sinks: the arrays of `pairs` with gradients.
PyObject* backward(PyObject*, PyObject* const* given, Py_ssize_t count) {
  if (!has(count, 11, "backward")) return nullptr;
  const Asked asked = {given[0], PyLong_AsLong(given[1]), given[3], given[4], given[5], given[8]};
  Gradients found;
  const Wanted wanted = {PyLong_AsLong(given[9]), given[10]};
  if (!differentiate(asked, {given[2], given[6], given[7]}, wanted, found))
    return not_implemented();
  return PyTuple_Pack(kGradientCount, found[0].get(), found[1].get(), found[2].get(),
                      found[3].get(), found[4].get(), found[5].get());
}

// attend_saving(ctx, query, key, value, asked, flags) -> output; asked is a tuple, the form first
//
// The forward of an autograd.Function, whose backward is differentiate_saved. In ctx it saves key,
// query, value, lse and output, in the order of torch's own node. If attend_saving returns
// NotImplemented, nothing is saved.
PyObject* attend_saving(PyObject*, PyObject* const* given, Py_ssize_t count) {
  if (!has(count, 6, "attend_saving")) return nullptr;
  PyObject* form = PyTuple_GetItem(given[4], 0);  // borrowed
  if (form == nullptr) return nullptr;
  const Asked asked = {form, PyLong_AsLong(given[5]), given[1], given[2], given[3], Py_None};
  const Reference found = attend(asked, Py_None, Py_True);
  if (!found) return not_implemented();
  PyObject *output = PyTuple_GetItem(found.get(), 0), *lse = PyTuple_GetItem(found.get(), 1);
  const Reference saved = PyObject_CallMethodObjArgs(
      given[0], names().node.save_for_backward, given[2], given[1], given[3], lse, output, nullptr);
  const Reference call = saved ? PyTuple_Pack(2, given[4], given[5]) : nullptr;
  if (!call || PyObject_SetAttr(given[0], names().node.call, call.get()) != 0 ||
      PyObject_SetAttr(given[0], names().node.materialize_grads, Py_False) != 0)
    return nullptr;
  return share(output).release();
}

// differentiate_saved(ctx or what was read of it, output gradient, threads)
//   -> the gradients of attend_saving's arguments after ctx
PyObject* differentiate_saved(PyObject*, PyObject* const* given, Py_ssize_t count) {
  if (!has(count, 3, "differentiate_saved")) return nullptr;
  const Reference saved = PyObject_GetAttr(given[0], names().node.saved_tensors);
  const Reference call = saved ? PyObject_GetAttr(given[0], names().node.call) : nullptr;
  const Reference needs =
      call ? PyObject_GetAttr(given[0], names().node.needs_input_grad) : nullptr;
  if (!needs) return nullptr;
  const auto part = [](const Reference& tuple, Py_ssize_t i) {
    return PyTuple_GetItem(tuple.get(), i);  // borrowed
  };
  long wanted = 0;
  for (int i = 0; i < 3; ++i) wanted |= part(needs, i) == Py_True ? 1L << i : 0;
  const long flags = PyLong_AsLong(part(call, 1)) & ((1L << kThreadsShift) - 1);
  const long threads = PyLong_AsLong(given[2]);
  const Asked asked = {PyTuple_GetItem(part(call, 0), 0),
                       flags | threads << kThreadsShift,
                       part(saved, 1),
                       part(saved, 0),
                       part(saved, 2),
                       Py_None};
  if (PyErr_Occurred() != nullptr) return nullptr;
  Gradients found;
  if (!differentiate(asked, {given[1], part(saved, 4), part(saved, 3)}, {wanted, Py_None}, found))
    return not_implemented();
  return PyTuple_Pack(5, found[0].get(), found[1].get(), found[2].get(), Py_None, Py_None);
}

// fits(flags, query, key, value) -> whether attention takes them without a copy
PyObject* fits(PyObject*, PyObject* const* given, Py_ssize_t count) {
  if (!has(count, 4, "fits")) return nullptr;
  Call call;
  const bool fitting = call.fits(PyLong_AsLong(given[0]), given + 1);
  if (PyErr_Occurred() != nullptr) return nullptr;
  return share(fitting ? Py_True : Py_False).release();
}

// rotary(form, flags, x, cosine, sine, out | None, pairs | None) -> out
PyObject* rotary(PyObject*, PyObject* const* given, Py_ssize_t count) {
  if (!has(count, 7, "rotary")) return nullptr;
  Call call;
  if (!call.begin(given[0], PyLong_AsLong(given[1]))) return nullptr;
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
  if (!call.begin(given[0], PyLong_AsLong(given[1]))) return nullptr;
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
                         {"attend_saving", fast(attend_saving), METH_FASTCALL, nullptr},
                         {"differentiate_saved", fast(differentiate_saved), METH_FASTCALL, nullptr},
                         {"rotary", fast(rotary), METH_FASTCALL, nullptr},
                         {"append", fast(append), METH_FASTCALL, nullptr},
                         {"adopt", adopt, METH_VARARGS, nullptr},
                         {"connect", connect, METH_VARARGS, nullptr},
                         {"fits", fast(fits), METH_FASTCALL, nullptr},
                         {"implement", implement, METH_VARARGS, nullptr},
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
  return module && describe(module.get()) && describe_torch(module.get()) ? module.release()
                                                                          : nullptr;
}
