// Merges the splits of the keys: each split's output is weighted by its part of the softmax
// denominator. The splits are added in a fixed order, so that results are reproducible. A warp has
// one row of the output.
#pragma once

#include "backends/cuda/device/matrix.h"
#include "backends/cuda/kernels/element.h"
#include "backends/cuda/kernels/place.h"
#include "backends/cuda/kernels/score/softmax.h"
#include "backends/cuda/kernels/sm80/launch.h"

namespace tilewise::cuda::sm80 {

// Row i of head h of sequence b, with the running row over all splits.
struct Merged {
  int64 b, h, i;
  core::Row<float> seen, row;  // without and with the sink
};

TW_DEVICE Merged merged_row(const Forward& p, int64 b, int64 h, int64 i) {
  Merged merged{b, h, i, {}, {}};
  TW_ROLLED
  for (int32 n = 0; n < p.splits.count; ++n)
    merged.seen = core::merge(merged.seen, p.splits.rows[row_place(p, n, b, h, i)]);
  merged.row = merged.seen;
  const Tensor& sinks = p.scoring.sinks;
  if (sinks)
    merged.row =
        core::merge(merged.seen, core::row_of(load_wide<float>(sinks, sinks.offset(0, h, 0, 0))));
  return merged;
}

TW_DEVICE float merged_lse(const Forward& p, const Merged& merged) {
  const Tensor& sinks = p.scoring.sinks;
  if (merged.seen.sum != 0) return score::lse_of(merged.row, p.scoring.measure);
  return sinks ? load_wide<float>(sinks, sinks.offset(0, merged.h, 0, 0))
               : -core::infinity<float>();
}

TW_DEVICE float merged_output(const Forward& p, const Merged& merged, int64 column) {
  float sum = 0;
  TW_ROLLED
  for (int32 n = 0; n < p.splits.count; ++n) {
    const int64 place = row_place(p, n, merged.b, merged.h, merged.i);
    const core::Row<float> part = p.splits.rows[place];
    if (part.sum == 0) continue;
    const float weight =
        part.sum * core::exp2(part.max - core::shift(merged.row.max)) / merged.row.sum;
    sum += weight * p.splits.output[place * p.shape.value_dim + column];
  }
  return sum;
}

// Stores an element of the output, whose dtype is known only at run time.
TW_DEVICE void store_merged(const Tensor& to, int64 element, float number) {
  auto* small = reinterpret_cast<uint16*>(to.data) + element;
  if (to.dtype == DType::kBFloat16)
    *small = static_cast<uint16>(pair_of<DType::kBFloat16>(number, 0));
  else if (to.dtype == DType::kFloat16)
    *small = static_cast<uint16>(pair_of<DType::kFloat16>(number, 0));
  else
    store(to, element, number);
}

// Launched with merge_tasks(p) blocks.
TW_DEVICE void merge(const Forward& p) {
  const int64 tiles = core::ceil_div(p.shape.queries, kMergedRows), head = block_index() / tiles;
  const int64 b = head / p.shape.heads, h = head % p.shape.heads;
  const int64 i = block_index() % tiles * kMergedRows + warp_index();
  uint32 faults = 0;
  const Place queries = place_of(p.queries, b, faults);
  if (i >= queries.length) return;
  const Merged merged = merged_row(p, b, h, i);
  const int64 row = queries.first + i;
  if (p.lse && lane_index() == 0)
    reinterpret_cast<float*>(p.lse.data)[p.lse.offset(queries.batch, h, row, 0)] =
        merged_lse(p, merged);
  const Tensor& to = p.splits.merged;
  const int64 first = to.offset(queries.batch, h, row, 0);
  TW_ROLLED
  for (int64 column = lane_index(); column < p.shape.value_dim; column += kWarp)
    store_merged(to, first + column, merged_output(p, merged, column));
}

}  // namespace tilewise::cuda::sm80
