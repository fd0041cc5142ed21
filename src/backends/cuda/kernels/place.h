// Reads a call's tables on the device, where the host could not check them. A length or offset out
// of range is clamped, and a batch row or page out of range counts as absent. A bit of tw_fault
// reports either.
#pragma once

#include "backends/cuda/device/memory.h"
#include "backends/cuda/kernels/element.h"

namespace tilewise::cuda {

// The bits of tw_fault.
inline constexpr uint32 kLengthFault = 1, kTableFault = 2, kPositionFault = 4;

// Stands for the offset of an element that does not exist, because the tensor lacks its page or
// row. Strides may be negative, so -1 could be the offset of a real element.
inline constexpr int64 kNowhere = -0x7FFFFFFFFFFFFFFF - 1;

// Where a sequence of one side lies: rows first .. first + length - 1 of batch row `batch`. If the
// tensor has no such batch row, `batch` is -1.
struct Place {
  int64 sequence, batch, first, length;
};

// Clamps a number of a table to its range, and notes kLengthFault if that changed it.
struct Clamped {
  uint32* faults;

  TW_DEVICE int64 operator()(int64 number, int64 low, int64 high) const {
    if (number >= low && number <= high) return number;
    *faults |= kLengthFault;
    return number < low ? low : high;
  }
};

// The batch row that holds sequence b: 0 if the sequences are packed, -1 if the tensor has no such
// row. A paged side has no batch rows; for it the result is b.
TW_DEVICE int64 batch_of(const Side& side, int64 b, uint32& faults) {
  if (side.packed()) return 0;
  if (side.paged()) return b;
  const Tensor& index = side.batch_index;
  const int64 batch = index ? index_at(index, b * index.stride.batch) : b;
  if (batch >= 0 && batch < side.extent.batches) return batch;
  faults |= kTableFault;
  return -1;
}

TW_DEVICE Place place_of(const Side& side, int64 b, uint32& faults) {
  const Clamped clamp{&faults};
  const auto by_batch = [b](const Tensor& table, int64 next) {
    return index_at(table, (b + next) * table.stride.batch);
  };
  int64 origin = 0, room = side.rows;
  if (side.packed()) {
    origin = clamp(by_batch(side.offsets, 0), 0, side.extent.rows);
    room = clamp(by_batch(side.offsets, 1), origin, side.extent.rows) - origin;
  }
  const int64 end = side.used ? clamp(by_batch(side.used, 0), 0, room) : room;
  const int64 skipped = side.start ? clamp(by_batch(side.start, 0), 0, end) : 0;
  const int64 length = clamp(end - skipped, 0, side.longest);
  return {b, batch_of(side, b, faults), origin + skipped, length};
}

// Where row i of a sequence lies: its batch row (or page), which is -1 if the tensor lacks it, and
// the row in that.
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
  if (page >= 0 && page < side.extent.batches) return {page, at % side.page_size};
  faults |= kTableFault;
  return {-1, 0};
}

TW_DEVICE void report(uint32* error, uint32 faults) {
  if (faults != 0 && error) atomic_or(error, faults);
}

}  // namespace tilewise::cuda
