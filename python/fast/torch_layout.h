// The strides of the results of torch's operators, as torch's own functions for tensors without
// memory (torch/_meta_registrations.py) give them: compilers rely on these strides.
#pragma once
#include <cstdint>

namespace tilewise::fast {

// A tensor that a new one of shape `to` is made like, all of four dimensions. A Layout sets the new
// tensor's strides.
struct Likeness {
  const std::int64_t *shape, *stride, *to;
};
using Layout = void (*)(const Likeness& like, std::int64_t* stride);

// Lays out (batch, rows, heads, columns), whatever `like` is.
void lay_rows_first(const Likeness& like, std::int64_t* stride);

// Lays out dimensions in the order of `like`, but the last one always contiguous, since the library
// writes no other layout.
void lay_alike(const Likeness& like, std::int64_t* stride);

}  // namespace tilewise::fast
