// Merges the results of attention to parts of the keys: each part's output is weighted by its part
// of the softmax denominator. A task is one row of the output.
#pragma once

#include "backends/cuda/kernels/cache_ops.h"
#include "backends/cuda/kernels/place.h"
#include "backends/cuda/kernels/plain/launch.h"

namespace tilewise::cuda::plain {

struct MergeMemory {
  double weight[kMostParts];
  core::Row<double> total;
};

// Row i of head h of sequence b.
struct MergedRow {
  int64 b, h, i;

  TW_DEVICE int64 in(const Tensor& tensor) const { return tensor.offset(b, h, i, 0); }
};

TW_DEVICE core::Row<double> part_row(const Merge& p, MergedRow row, int32 n) {
  return core::row_of(load_wide<double>(p.part[n].lse, row.in(p.part[n].lse)));
}

TW_DEVICE void find_total(const Merge& p, MergedRow row, MergeMemory& memory) {
  core::Row<double> total;
  if (p.sinks) total = core::row_of(load_wide<double>(p.sinks, p.sinks.offset(0, row.h, 0, 0)));
  TW_ROLLED
  for (int32 n = 0; n < p.parts; ++n) total = core::merge(total, part_row(p, row, n));
  memory.total = total;
  if (p.lse) store(p.lse, row.in(p.lse), core::lse(total));
}

TW_DEVICE void merge_row(const Merge& p, MergedRow row, MergeMemory& memory) {
  block_barrier();
  if (thread_index() == 0) find_total(p, row, memory);
  block_barrier();
  for (int32 n = thread_index(); n < p.parts; n += kThreads) {
    const core::Row<double> part = part_row(p, row, n), total = memory.total;
    memory.weight[n] =
        part.sum == 0 ? 0.0 : part.sum * core::exp2(part.max - core::shift(total.max)) / total.sum;
  }
  block_barrier();
  for (int64 c = thread_index(); c < p.value_dim; c += kThreads) {
    double sum = 0;
    TW_ROLLED
    for (int32 n = 0; n < p.parts; ++n) {
      const Tensor& output = p.part[n].output;
      if (part_row(p, row, n).sum != 0)
        sum += memory.weight[n] * load<double>(output, row.in(output) + c);
    }
    store(p.output, row.in(p.output) + c, sum);
  }
}

// Launched with up to batch * heads * tokens blocks.
TW_DEVICE void merge(const Merge& p) {
  auto& memory = shared_memory<MergeMemory>();
  for_each_task(p.batch * p.heads * p.tokens, [&](int64 task) {
    const int64 above = task / p.tokens;
    merge_row(p, {above / p.heads, above % p.heads, task % p.tokens}, memory);
  });
}

}  // namespace tilewise::cuda::plain
