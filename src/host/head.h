// One sequence as one query head sees it: what is the same for all its tiles.
#pragma once

#include "core/score.h"
#include "core/softmax.h"
#include "host/element.h"
#include "host/masks.h"

namespace tilewise {

using core::Cover;
using core::Range;

inline Range tile_range(int64 index, int64 tile, int64 length) {
  return {index * tile, core::smaller((index + 1) * tile, length)};
}

// The head's sink logit; without sinks -inf, which adds nothing.
template <class T>
T sink_of(const Problem& p, int64 query_head) {
  const View& sinks = p.scores.sinks;
  if (!sinks) return -core::infinity<T>();
  return load<T>(sinks, sinks.offset(0, query_head, 0, 0));
}

template <class T>
struct Head {
  Head(const Problem& p, int64 sequence, int64 query_head)
      : problem(p),
        b(sequence),
        h(query_head),
        key_head(query_head / p.shape.group()),
        queries(place_of(p.queries, sequence)),
        keys(place_of(p.keys, sequence)),
        band(band_of(p, sequence)),
        blocks(blocks_of(p, sequence, query_head)),
        softcap{static_cast<T>(p.scores.softcap)} {
    const View& slopes = p.scores.slopes;
    if (slopes) alibi.slope = load<T>(slopes, slopes.offset(b, h, 0, 0));
  }

  Cover cover(Range rows, Range columns) const {
    const Cover by_band = band.cover(rows, columns);
    return by_band == Cover::kNone ? by_band : both(by_band, blocks.cover(rows, columns));
  }

  // Calls body(columns) for each tile of `width` keys that some row of `rows` may see.
  template <class Body>
  void for_each_key_tile(Range rows, int64 width, Body body) const {
    const Range seen = band.keys_of(rows);
    for (int64 t = seen.begin / width; t * width < seen.end; ++t) {
      const Range columns = tile_range(t, width, keys.length);
      if (cover(rows, columns) != Cover::kNone) body(columns);
    }
  }

  // Calls body(rows) for each tile of `height` queries that may see some key of `columns`.
  template <class Body>
  void for_each_query_tile(Range columns, int64 height, Body body) const {
    const Range seen = band.queries_of(columns);
    for (int64 t = seen.begin / height; t * height < seen.end; ++t) {
      const Range rows = tile_range(t, height, queries.length);
      if (cover(rows, columns) != Cover::kNone) body(rows);
    }
  }

  // The factor of an FP8 tensor's elements; 1 without scaling.
  T factor(const View& scaling) const {
    return scaling ? load<T>(scaling, scaling.offset(b, key_head, 0, 0)) : T(1);
  }

  T sink() const { return sink_of<T>(problem, h); }

  bool keeps(int64 i, int64 j) const {
    const int64* base = problem.dropout.base;
    return problem.dropout.decide.keeps(b + base[0], h + base[1], i + base[2], j + base[3]);
  }

  const Problem& problem;
  int64 b, h, key_head;
  Place queries, keys;
  core::Band band;
  core::BlockMask blocks;
  core::Softcap<T> softcap;
  core::Alibi<T> alibi;
};

}  // namespace tilewise
