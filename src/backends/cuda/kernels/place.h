// What a call's tables say, read by the device. Nobody could check them before: what is out of
// range is cut back, and a bit of tw_fault says so.
#pragma once

#include "backends/cuda/device/memory.h"
#include "backends/cuda/kernels/element.h"

namespace tilewise::cuda {

// The bits of tw_fault.
inline constexpr uint32 kLengthFault = 1, kTableFault = 2, kPositionFault = 4;

// In place of an element that lies nowhere: a page or row that the tensor does not have. Strides
// may be negative, so -1 is an element.
inline constexpr int64 kNowhere = -0x7FFFFFFFFFFFFFFF - 1;

// Sequence b on one side: rows first .. first + length - 1 of batch row `batch`, which is -1 where
// there is no such row.
struct Place {
  int64 sequence, batch, first, length;
};

// A number of a table, held within its range.
struct Clamped {
  uint32* faults;

  TW_DEVICE int64 operator()(int64 number, int64 low, int64 high) const {
    if (number >= low && number <= high) return number;
    *faults |= kLengthFault;
    return number < low ? low : high;
  }
};

// The batch row that holds sequence b, 0 where all of them are packed; -1 where there is no such
// row. Paged sides have none to look for.
TW_DEVICE int64 batch_of(const Side& side, int64 b, uint32& faults) {
  if (side.packed()) return 0;
  if (side.paged()) return b;
  const Tensor& index = side.batch_index;
  const int64 batch = index ? index_at(index, b * index.stride.batch) : b;
  if (batch >= 0 && batch < side.held.batches) return batch;
  faults |= kTableFault;
  return -1;
}

TW_DEVICE Place place_of(const Side& side, int64 b, uint32& faults) {
  const Clamped held{&faults};
  const auto by_batch = [b](const Tensor& table, int64 next) {
    return index_at(table, (b + next) * table.stride.batch);
  };
  int64 origin = 0, room = side.rows;
  if (side.packed()) {
    origin = held(by_batch(side.offsets, 0), 0, side.held.rows);
    room = held(by_batch(side.offsets, 1), origin, side.held.rows) - origin;
  }
  const int64 end = side.used ? held(by_batch(side.used, 0), 0, room) : room;
  const int64 skipped = side.start ? held(by_batch(side.start, 0), 0, end) : 0;
  const int64 length = held(end - skipped, 0, side.longest);
  return {b, batch_of(side, b, faults), origin + skipped, length};
}

// Batch row (or page) and row of row i of a sequence; batch -1 where there is none.
struct Spot {
  int64 batch, row;

  TW_DEVICE int64 in(const Tensor& tensor, int64 h) const {
    return batch < 0 ? kNowhere : tensor.offset(batch, h, row, 0);
  }
};

TW_DEVICE Spot spot_of(const Side& side, const Place& place, int64 i, uint32& faults) {
  const int64 at = place.first + i;
  if (!side.paged()) return {place.batch, at};
  const Tensor& table = side.page_table;
  const int64 page = index_at(table, table.offset(place.sequence, 0, 0, at / side.page_size));
  if (page >= 0 && page < side.held.batches) return {page, at % side.page_size};
  faults |= kTableFault;
  return {-1, 0};
}

TW_DEVICE void report(uint32* error, uint32 faults) {
  if (faults != 0 && error) atomic_or(error, faults);
}

}  // namespace tilewise::cuda
