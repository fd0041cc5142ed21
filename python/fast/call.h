// One call of attention or its gradients on arrays of one framework, on one device.
#pragma once
#include "python/fast/reading.h"
#include "python/fast/slots.h"
#include "python/fast/workspace.h"

namespace tilewise::fast {

enum : long {
  kHeadsFirst = 1,  // rows are given as (batch, heads, length, dim)
  kGrouped = 2,     // with it: key may have fewer heads; without, as many or one
  kDeterministic = 4,
  kInterleaved = 1,  // these four are of rotary and append
  kInverse = 2,
  kFixed = 4,
  kThreadsShift = 8  // above: at most so many threads, where the form does not say
};

class Call {
 public:
  // False: the form is no such thing, or the flags were none, and an exception is set.
  bool begin(PyObject* form, long flags);

  // Puts an array into its slot. False without an exception: Python's slower way must take the
  // call, because this array is of another framework or device, or cannot be read as it lies.
  // is_new: it was made for this call, so that its memory is its own.
  bool put(int slot, PyObject* array, bool is_new = false);
  // The same for a tuple of slot, array, slot, array, ...; a seed and an offset are numbers in it.
  bool put_all(PyObject* pairs);
  // Whether rows that are given heads first have the ranks and sizes that this needs.
  bool is_shaped() const;
  // Whether query, key and value, given heads first, are what attention takes.
  bool fits(long flags, PyObject* const* rows);

  // New arrays for results. Null: as above.
  Reference make_output(PyObject* query);
  Reference make_lse(PyObject* query);
  Reference make_gradient(int which, PyObject* like);

  // False without an exception: the library finds the call wrong, and Python says more about that.
  bool run(tw_operation operation, PyObject* query);

  // The same for rotary and append: what slot `slot` holds, turned, goes into a new array.
  Reference make_rotated(int slot, PyObject* like);
  bool run_rotary();
  bool run_append();

 private:
  tw_tensor& place(int slot);
  bool put_one(long slot, PyObject* item);
  Reference make(PyObject* like, Reference shape, int32_t dtype, Fill fill) const;
  void attach();
  // Device, threads and stream. False: an exception is set.
  bool fill(tw_execution& execution) const;
  template <class Request>
  bool run_plain(tw_status (*function)(const Request*, const tw_execution*, char*, size_t),
                 const Request& request);
  bool run_on_host(tw_operation operation, tw_execution& execution) const;
  bool run_on_device(tw_operation operation, tw_execution& execution, PyObject* query);

  Bundle bundle_{};
  tw_device device_{};
  const Framework* framework_ = nullptr;  // query's, which makes the results
  bool has_device_ = false;
  long flags_ = 0;
};

}  // namespace tilewise::fast
