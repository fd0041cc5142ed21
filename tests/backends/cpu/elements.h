// Rows of small whole numbers as elements of a type; a test's own function says which numbers. Rows
// lie `columns` + 1 elements apart, so that most do not begin at a multiple of a vector or a pair.
#pragma once

#include <vector>

#include "backends/cpu/rows.h"

namespace tilewise::cpu {

inline std::size_t index(int64 n) {
  return static_cast<std::size_t>(n);
}

struct ElementRows {
  ElementRows(int64 count, int64 columns, DType type, int (*number)(int64 row, int64 column))
      : dim(columns),
        dtype(type),
        bytes(index(count * (dim + 1) * core::bytes_of(dtype))),
        at(index(count)) {
    for (int64 r = 0; r < count; ++r) {
      at[index(r)] = bytes.data() + r * (dim + 1) * core::bytes_of(dtype);
      for (int64 c = 0; c < dim; ++c)
        tilewise::store(dtype, at[index(r)] + c * core::bytes_of(dtype),
                        static_cast<double>(number(r, c)));
    }
  }

  [[nodiscard]] Rows rows() const { return {at.data(), static_cast<int64>(at.size()), dim, dtype}; }

  int64 dim;
  DType dtype;
  std::vector<std::byte> bytes;
  std::vector<std::byte*> at;
};

}  // namespace tilewise::cpu
