// One sequence as one query head sees it: data that every tile of it needs, in shared memory
// because all threads need the same.
#pragma once

#include "backends/cuda/kernels/attention.h"
#include "backends/cuda/kernels/band.h"
#include "backends/cuda/kernels/place.h"
#include "core/score.h"
#include "core/softmax.h"

namespace tilewise::cuda::plain {

using core::Cover;
using core::Range;

TW_DEVICE core::BlockMask blocks_of(const Mask& mask, int64 b, int64 h) {
  const Tensor& blocks = mask.blocks;
  if (!blocks) return {};
  return {.present = blocks.data + blocks.offset(b, h, 0, 0),
          .row_stride = blocks.stride.row,
          .rows = mask.block_query,
          .columns = mask.block_key};
}

TW_DEVICE core::Dropout drawn(const Dropout& dropout) {
  if (!dropout.state) return dropout.decide;
  return {dropout.state[0], dropout.state[1], dropout.decide.threshold()};
}

template <class T>
struct Head {
  // Called by all threads of the block.
  TW_DEVICE void enter(const Attention& p, int64 sequence, int64 query_head) {
    block_barrier();
    if (thread_index() == 0) {
      uint32 faults = 0;
      b = sequence;
      h = query_head;
      key_head = h / (p.shape.heads / p.shape.key_heads);
      queries = place_of(p.queries, b, faults);
      keys = place_of(p.keys, b, faults);
      band = band_of(p.mask, queries.length, keys.length);
      blocks = blocks_of(p.mask, b, h);
      dropout = drawn(p.dropout);
      slope = p.scores.slopes ? load_wide<T>(p.scores.slopes, p.scores.slopes.offset(b, h, 0, 0))
                              : T(0);
      report(p.error, faults);
    }
    block_barrier();
  }

  TW_DEVICE Cover cover(Range rows, Range columns) const {
    const Cover by_band = band.cover(rows, columns);
    return by_band == Cover::kNone ? by_band : both(by_band, blocks.cover(rows, columns));
  }

  // Calls body(columns) for each tile of `width` keys that some row of `rows` may see.
  template <class Body>
  TW_DEVICE void for_each_key_tile(Range rows, int64 width, const Body& body) const {
    const Range seen = band.keys_of(rows);
    for (int64 t = seen.begin / width; t * width < seen.end; ++t) {
      const Range columns = tile_range(t, width, keys.length);
      if (cover(rows, columns) != Cover::kNone) body(columns);
    }
  }

  // Calls body(rows) for each tile of `height` queries of which some may see a key of `columns`.
  template <class Body>
  TW_DEVICE void for_each_query_tile(Range columns, int64 height, const Body& body) const {
    const Range seen = band.queries_of(columns);
    for (int64 t = seen.begin / height; t * height < seen.end; ++t) {
      const Range rows = tile_range(t, height, queries.length);
      if (cover(rows, columns) != Cover::kNone) body(rows);
    }
  }

  // The scaling factor of an FP8 tensor; 1 if the call gives none.
  TW_DEVICE T factor(const Tensor& scaling) const {
    return scaling ? load_wide<T>(scaling, scaling.offset(b, key_head, 0, 0)) : T(1);
  }

  // The head's sink; -inf, which adds nothing, if there is none.
  TW_DEVICE T sink(const Tensor& sinks) const {
    return sinks ? load_wide<T>(sinks, sinks.offset(0, h, 0, 0)) : -core::infinity<T>();
  }

  TW_DEVICE bool keeps(const Dropout& by, int64 i, int64 j) const {
    return dropout.keeps(b + by.base[0], h + by.base[1], i + by.base[2], j + by.base[3]);
  }

  int64 b, h, key_head;
  Place queries, keys;
  core::Band band;
  core::BlockMask blocks;
  core::Dropout dropout;
  T slope;
};

}  // namespace tilewise::cuda::plain
