// Converts a Problem into the arguments of kernels. Does not read tensors or tables, because their
// memory may be on a device. Tables on the host must have been copied to the device before
// (host_tables.h).
#pragma once

#include "backends/cuda/kernels/cache_ops.h"
#include "backends/cuda/kernels/plain/launch.h"
#include "plan/arena.h"
#include "problem/problem.h"

namespace tilewise::cuda {

Tensor tensor_of(const View& view);

// `tensor` has the side's rows, and tells how many there are.
Side side_of(const tilewise::Side& side, const View& tensor);

// `error` is a word on the device, or null.
Attention attention_of(const Problem& problem, core::uint32* error);

Gradients gradients_of(const Problem& problem);

// The workspace through which the passes of the plain backward hand sums to each other. An arena
// without memory only counts the bytes.
template <class T>
RowSums row_sums_of(const Problem& p, Arena& arena) {
  const Shape shape = attention_of(p, nullptr).shape;
  const int64 heads = shape.batch * shape.heads, tiles = plain::query_tiles<T>(shape);
  RowSums sums{};
  sums.known = arena.take<plain::KnownRow<T>>(heads * shape.queries);
  if (p.gradients.slopes) sums.slopes = arena.take<T>(heads * tiles);
  if (p.gradients.sinks) sums.sinks = arena.take<T>(heads * tiles);
  return sums;
}

Rotary rotary_of(const RotaryProblem& problem, core::uint32* error);

// The new keys and values alone; the queries to rotate with them are a Rotary of their own.
Append append_of(const AppendProblem& problem, core::uint32* error);

// `problem` must have at most kMostParts parts.
Merge merge_of(const MergeProblem& problem);

}  // namespace tilewise::cuda
