// Attention and its gradients on arrays of one framework, as new arrays of it.
#pragma once
#include "python/fast/call.h"

namespace tilewise::fast {

// What a call reads, all borrowed; `pairs` is what Call::put_all takes.
struct Asked {
  PyObject* form;
  long flags;
  PyObject *query, *key, *value, *pairs;
};

// The output, in `out` unless that is None; with `lse` True a pair of it and a new lse, otherwise
// `lse` is where that goes, or None. Null without an exception: Python's slower way must take it.
Reference attend(const Asked& asked, PyObject* out, PyObject* lse);

// What backward reads besides.
struct Arrived {
  PyObject *output_gradient, *output, *lse;
};

// Which gradients there are to be: a bit for each, and (bias, slopes, sinks) where one of these is.
struct Wanted {
  long bits;
  PyObject* likes;
};

// Of query, key, value, bias, slopes and sinks; None where not wanted.
using Gradients = Reference[kGradientCount];

// False without an exception: as above.
bool differentiate(const Asked& asked, const Arrived& arrived, const Wanted& wanted,
                   Gradients& found);

}  // namespace tilewise::fast
