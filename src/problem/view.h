// A tensor after its checks: every tensor of a call, whatever its rank, in one form that kernels
// read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base.h"
#include "core/dtype.h"

namespace tilewise {

using core::DType;
using core::int32;
using core::int64;

// "bfloat16": the public header's name of a type.
const char* name_of(DType dtype);

// One number for each of the four ways in which a call's tensors are indexed. Rows are queries,
// keys, positions or pages' slots; columns are keys (of a bias) or the elements of a head.
struct Axes {
  int64 batch = 0, head = 0, row = 0, column = 0;
};

// Element (b, h, i, j) lies at data + (b, h, i, j) . stride elements. What the tensor does not
// have, or broadcasts, has stride 0; `size` says 1 there. Packed tensors have batch stride 0 and
// their tokens as rows; paged ones have their pages as batch.
struct View {
  std::byte* data = nullptr;
  DType dtype = DType::kNone;
  Axes size, stride;
  bool on_device = false;  // the processor must not follow `data`

  explicit operator bool() const { return dtype != DType::kNone; }

  int64 offset(int64 b, int64 h, int64 i, int64 j) const {
    return b * stride.batch + h * stride.head + i * stride.row + j * stride.column;
  }

  std::byte* at(int64 element) const { return data + element * core::bytes_of(dtype); }
};

}  // namespace tilewise
