// How the results of torch's operators lie in memory. torch's own functions for tensors without
// memory (torch/_meta_registrations.py) say it, and what compiles a call relies on it.
#pragma once
#include <cstdint>

namespace tilewise::fast {

// The strides of a new tensor of four dimensions and of shape `to`, from the shape and the strides
// of one that it is like.
struct Likeness {
  const std::int64_t *shape, *stride, *to;
};
using Layout = void (*)(const Likeness& like, std::int64_t* stride);

// (batch, rows, heads, columns) in memory, whatever it is like.
void lay_rows_first(const Likeness& like, std::int64_t* stride);

// In the order of what it is like. The last dimension is contiguous even where that of the other is
// not, which the library could not write.
void lay_alike(const Likeness& like, std::int64_t* stride);

}  // namespace tilewise::fast
