// Reads a call's tables on the processor: lengths, offsets, pages, indices. A backend of another
// device does not include this file, because its tables may be in device memory.
#pragma once

#include "problem/side.h"

namespace tilewise {

// Whether the processor can read the table, or there is none. A call that only asks about shapes
// may leave tables without memory; a call on a device may have them in device memory.
inline bool readable(const View& view) {
  return !view || (view.data && !view.on_device);
}

// Whether the lengths of all sequences can be read.
inline bool has_lengths(const Side& side) {
  return readable(side.offsets) && readable(side.used) && readable(side.start);
}

// Whether the page table or batch index can be read.
inline bool has_tables(const Side& side) {
  return readable(side.page_table) && readable(side.batch_index);
}

// Element `element` of a length, offset or page table tensor.
inline int64 index_at(const View& view, int64 element) {
  const std::byte* at = view.at(element);
  if (view.dtype == DType::kInt64) return *reinterpret_cast<const std::int64_t*>(at);
  return *reinterpret_cast<const std::int32_t*>(at);
}

inline Place place_of(const Side& side, int64 b) {
  const int64 origin = side.packed() ? index_at(side.offsets, b * side.offsets.stride.batch) : 0;
  const int64 skipped = side.start ? index_at(side.start, b * side.start.stride.batch) : 0;
  int64 end = side.packed() ? index_at(side.offsets, (b + 1) * side.offsets.stride.batch) - origin
                            : side.rows;
  if (side.used) end = index_at(side.used, b * side.used.stride.batch);
  int64 batch = side.packed() ? 0 : b;
  if (side.batch_index) batch = index_at(side.batch_index, b * side.batch_index.stride.batch);
  return {b, batch, origin + skipped, end - skipped};
}

// The element of `view` at which row i of head h begins.
inline int64 row_of(const Side& side, const View& view, const Place& place, int64 h, int64 i) {
  const int64 at = place.first + i;
  if (!side.paged()) return view.offset(place.batch, h, at, 0);
  const int64 column = at / side.page_size;
  const int64 page =
      index_at(side.page_table, side.page_table.offset(place.sequence, 0, 0, column));
  return view.offset(page, h, at % side.page_size, 0);
}

}  // namespace tilewise
