// CPython's limited API as of 3.9, so that one binary serves every later Python.
#pragma once
#define Py_LIMITED_API 0x03090000
#include <Python.h>

#include <utility>

#ifndef METH_FASTCALL
#define METH_FASTCALL 0x0080  // The limited API names it from 3.10; 3.9 calls in the same way.
#endif

namespace tilewise::fast {

// An owned reference. Null means that a Python exception is set.
class Reference {
 public:
  Reference(PyObject* object = nullptr) : object_(object) {}  // NOLINT(google-explicit-constructor)
  Reference(const Reference&) = delete;
  Reference(Reference&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Reference& operator=(const Reference&) = delete;
  Reference& operator=(Reference&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Reference() { Py_XDECREF(object_); }
  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_;
};

// A new reference to an object that somebody else holds.
inline Reference share(PyObject* object) {
  Py_INCREF(object);
  return object;
}

}  // namespace tilewise::fast
