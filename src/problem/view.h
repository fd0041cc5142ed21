// A checked tensor. After the checks every tensor of a call, whatever its rank, has this form.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base.h"
#include "core/dtype.h"

namespace tilewise {

using core::DType;
using core::int32;
using core::int64;

// The name of a type in the public header, such as "bfloat16".
const char* name_of(DType dtype);

// One number for each of the four axes of a tensor. Rows are queries, keys, positions or the slots
// of a page; columns are keys (of a bias) or the elements of a head.
struct Axes {
  int64 batch = 0, head = 0, row = 0, column = 0;
};

// Element (b, h, i, j) lies at data + (b, h, i, j) . stride elements. An axis that the tensor lacks
// has size 1, and an axis of size 1 has stride 0. In packed tensors, which lack the batch axis,
// rows are tokens; in paged tensors the batch axis counts pages.
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
