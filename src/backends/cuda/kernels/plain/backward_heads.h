// The last backward pass: gradients of slopes and sinks, from the partial sums that backward_query
// and backward_rows stored.
#pragma once

#include "backends/cuda/kernels/plain/backward_tile.h"

namespace tilewise::cuda::plain {

template <class T>
struct HeadsMemory {
  T between[kWarps];
};

// Sums the partial gradients of head h over all tiles of a range of batches, for this thread.
template <class T>
TW_DEVICE T sum_of_partials(const Shape& shape, const T* partials, Range batch, int64 h) {
  const int64 tiles = query_tiles<T>(shape);
  T sum = 0;
  for (int64 n = thread_index(); n < batch.size() * tiles; n += kThreads) {
    const int64 b = batch.begin + n / tiles;
    sum += partials[(b * shape.heads + h) * tiles + n % tiles];
  }
  return sum;
}

template <class T>
TW_DEVICE void backward_heads(const Backward& p) {
  auto& memory = shared_memory<HeadsMemory<T>>();
  const Shape& shape = p.attention.shape;
  const int64 slopes = p.gradients.slopes ? p.gradients.slopes_batch : 0;
  for_each_task(head_gradient_tasks(p), [&](int64 task) {
    const int64 b = task / shape.heads, h = task % shape.heads;
    const bool of_slope = b < slopes;
    const Range batch = of_slope && slopes > 1 ? Range{b, b + 1} : Range{0, shape.batch};
    const auto* partials = static_cast<const T*>(of_slope ? p.sums.slopes : p.sums.sinks);
    const T sum = block_sum(sum_of_partials(shape, partials, batch, h), memory.between);
    const Tensor& to = of_slope ? p.gradients.slopes : p.gradients.sinks;
    if (thread_index() == 0) store(to, to.offset(of_slope ? b : 0, h, 0, 0), sum);
  });
}

}  // namespace tilewise::cuda::plain
