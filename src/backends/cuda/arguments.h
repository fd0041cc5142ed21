// From a checked call to what kernels get. Nothing is read but the call's own structs: tensors and
// tables may lie on a device. Tables that lie on the host have to be brought there first.
#pragma once

#include "backends/cuda/kernels/plain/launch.h"
#include "backends/cuda/kernels/turns.h"
#include "plan/arena.h"
#include "problem/problem.h"

namespace tilewise::cuda {

Tensor tensor_of(const View& view);

// `tensor` is one that has the side's rows: it says how many there are.
Side side_of(const tilewise::Side& side, const View& tensor);

// `error` is a word on the device, or null.
Attention attention_of(const Problem& problem, core::uint32* error);

Gradients gradients_of(const Problem& problem);

// What the passes of the plain backward leave for each other. Without memory it is only counted.
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

// Without the queries that may turn with it: they are a rotary of their own.
Append append_of(const AppendProblem& problem, core::uint32* error);

// Of at most kMostParts parts.
Merge merge_of(const MergeProblem& problem);

}  // namespace tilewise::cuda
