// The one matrix product of this backend. Every product of attention, forward and backward, is this
// one with other strides.
#pragma once

#include "core/base.h"

namespace tilewise::plain {

using core::int64;

// A small matrix in scratch memory: element (i, k) is data[i * row + k * column].
template <class T>
struct Matrix {
  const T* data;
  int64 row, column;
};

template <class T>
Matrix<T> transposed(Matrix<T> m) {
  return {m.data, m.column, m.row};
}

// Sizes of a product. Rows of its right side and of its result are `width` apart.
struct Extent {
  int64 rows, inner, columns, width;
};

// to[i][j] += sum over k of a(i, k) * b[k][j]. The sum of one call is made in `apart` and then
// added, so a sum over many keys is a sum of the sums of tiles, in which float32 loses fewer
// digits.
template <class T>
void add_product(Extent extent, Matrix<T> a, const T* b, T* to, T* apart) {
  const int64 width = extent.width;
  for (int64 i = 0; i < extent.rows; ++i) {
    for (int64 j = 0; j < extent.columns; ++j) apart[j] = 0;
    for (int64 k = 0; k < extent.inner; ++k) {
      const T factor = a.data[i * a.row + k * a.column];
      const T* from = b + k * width;
      for (int64 j = 0; j < extent.columns; ++j) apart[j] += factor * from[j];
    }
    for (int64 j = 0; j < extent.columns; ++j) to[i * width + j] += apart[j];
  }
}

}  // namespace tilewise::plain
