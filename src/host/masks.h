// The band and block mask of one sequence and head, from its lengths and the caller's memory.
#pragma once

#include "problem/place.h"
#include "problem/problem.h"

namespace tilewise {

inline core::Band band_of(const Problem& p, int64 b) {
  return p.mask.band(place_of(p.queries, b).length, place_of(p.keys, b).length);
}

// The block mask of sequence b as query head h sees it. It hides nothing if its memory cannot be
// read.
inline core::BlockMask blocks_of(const Problem& p, int64 b, int64 h) {
  const View& blocks = p.mask.blocks;
  if (!blocks || !readable(blocks)) return {};
  const std::byte* first = blocks.at(blocks.offset(b, h, 0, 0));
  return {.present = reinterpret_cast<const core::uint8*>(first),
          .row_stride = blocks.stride.row,
          .rows = p.mask.block_query,
          .columns = p.mask.block_key};
}

}  // namespace tilewise
