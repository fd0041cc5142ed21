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
  // Starts a call. False: the form or the flags are wrong, and an exception is set.
  bool begin(PyObject* form, long flags);

  // Puts an array into its slot. False without an exception: Python's slower way must take the
  // call, because this array is of another framework or device, or cannot be read as it lies.
  // is_new: the array was made for this call, so no other array shares its memory.
  bool put(int slot, PyObject* array, bool is_new = false);
  // put() for a tuple of slot, array, slot, array, ...; a seed and an offset in it are numbers.
  bool put_all(PyObject* pairs);
  // Whether query, key and value, given heads first, have the ranks and sizes that this needs.
  bool is_shaped() const;
  // Whether attention takes query, key and value, given heads first.
  bool fits(long flags, PyObject* const* rows);

  // Make new arrays for results. Null without an exception: Python's slower way must take the call.
  Reference make_output(PyObject* query);
  Reference make_lse(PyObject* query);
  Reference make_gradient(int which, PyObject* like);

  // Runs the operation. False without an exception: the library refuses the call, and Python's
  // slower way says more about why.
  bool run(tw_operation operation, PyObject* query);

  // For rotary and append: a new array for the rotation of what slot `slot` holds.
  Reference make_rotated(int slot, PyObject* like);
  bool run_rotary();
  bool run_append();

 private:
  tw_tensor& place(int slot);
  bool put_one(long slot, PyObject* item);
  Reference make(PyObject* like, Reference shape, int32_t dtype, Fill fill) const;
  void attach();
  // Sets device, threads and stream. False: an exception is set.
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
