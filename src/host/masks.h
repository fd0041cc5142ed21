// The masks of a sequence and of a head, as its lengths and the caller's memory say.
#pragma once

#include "problem/place.h"
#include "problem/problem.h"

namespace tilewise {

inline core::Band band_of(const Problem& p, int64 b) {
  return p.mask.band(place_of(p.queries, b).length, place_of(p.keys, b).length);
}

// The block mask of sequence b as query head h sees it. It hides nothing where it is only asked
// about.
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
