// Attention and its gradients on arrays of one framework, as new arrays of it.
#pragma once
#include "python/fast/call.h"

namespace tilewise::fast {

// What a call reads; all references are borrowed. `pairs` is what Call::put_all takes.
struct Asked {
  PyObject* form;
  long flags;
  PyObject *query, *key, *value, *pairs;
};

// Returns the output, written to `out` unless that is None. `lse` is True (returns a pair of output
// and new lse), an array to write to, or None. Null without an exception: Python's slower way must
// take the call.
Reference attend(const Asked& asked, PyObject* out, PyObject* lse);

// What backward reads besides Asked.
struct Arrived {
  PyObject *output_gradient, *output, *lse;
};

// Which gradients to make: a bit for each, and (bias, slopes, sinks) if one of these is wanted.
struct Wanted {
  long bits;
  PyObject* likes;
};

// The gradients of query, key, value, bias, slopes and sinks; None for those not wanted.
using Gradients = Reference[kGradientCount];

// Makes the gradients. False without an exception: Python's slower way must take the call.
bool differentiate(const Asked& asked, const Arrived& arrived, const Wanted& wanted,
                   Gradients& found);

}  // namespace tilewise::fast
