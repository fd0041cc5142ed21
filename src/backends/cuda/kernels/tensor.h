// Tensors and sides in the form that kernels receive: problem/view.h and problem/side.h without the
// host's headers.
#pragma once

#include "core/dtype.h"

namespace tilewise::cuda {

using core::DType;
using core::int32;
using core::int64;
using core::uint8;

// One number for each dimension by which tensors are indexed, as in problem/view.h.
struct Axes {
  int64 batch, head, row, column;
};

// Element (b, h, i, j) lies at data + (b, h, i, j) . stride elements.
struct Tensor {
  uint8* data;
  DType dtype;  // kNone: absent
  int32 bytes;  // of an element
  Axes stride;

  TW_HD explicit operator bool() const { return dtype != DType::kNone; }

  TW_HD int64 offset(int64 b, int64 h, int64 i, int64 j) const {
    return b * stride.batch + h * stride.head + i * stride.row + j * stride.column;
  }
};

// How many batch rows (or pages) and rows the tensors of a side have. Kernels access nothing beyond
// these, whatever a table on the device says.
struct Extent {
  int64 batches, rows;
};

struct Side {
  Tensor offsets, used, start, batch_index, page_table;  // by batch, as in problem/side.h
  int64 page_size, rows, longest;
  Extent extent;

  TW_HD bool packed() const { return static_cast<bool>(offsets); }
  TW_HD bool paged() const { return static_cast<bool>(page_table); }
};

}  // namespace tilewise::cuda
