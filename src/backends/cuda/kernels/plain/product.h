// Tiles in shared memory, and the one matrix product of the plain kernels: each of 128 threads has
// a register tile of the result.
#pragma once

#include "backends/cuda/kernels/place.h"
#include "backends/cuda/kernels/plain/launch.h"

namespace tilewise::cuda::plain {

inline constexpr int32 kWarps = kThreads / kWarp;
// Threads form a grid: thread (y, x) has rows y, y + 8, ... and columns x, x + 16, ... of a result.
inline constexpr int32 kAcross = 16, kDown = kThreads / kAcross;
// Inner elements of a product that are in shared memory at a time.
inline constexpr int32 kChunk = 32;

TW_DEVICE int32 thread_row() {
  return thread_index() / kAcross;
}

TW_DEVICE int32 thread_column() {
  return thread_index() % kAcross;
}

// A thread's sums. Indices are compile-time constants, so that the array stays in registers.
template <class T, int32 rows, int32 columns>
struct RegisterTile {
  static constexpr int32 kRows = rows, kColumns = columns;
  T at[rows][columns];

  TW_DEVICE void clear() {
    each([this](int32 i, int32 j, int32, int32) { at[i][j] = 0; });
  }

  TW_DEVICE void add(const RegisterTile& other) {
    each([&](int32 i, int32 j, int32, int32) { at[i][j] += other.at[i][j]; });
  }

  // Calls body(i, j, row, column) for each sum: its index in the register tile, and in the result.
  template <class Body>
  TW_DEVICE void each(const Body& body) const {
    TW_UNROLL
    for (int32 i = 0; i < rows; ++i) {
      TW_UNROLL
      for (int32 j = 0; j < columns; ++j)
        body(i, j, thread_row() + i * kDown, thread_column() + j * kAcross);
    }
  }
};

// Results of kSide x kSide, and of kSide x kWidth.
template <class T>
using ScoreRegisters = RegisterTile<T, kSide<T> / kDown, kSide<T> / kAcross>;
template <class T>
using SumRegisters = RegisterTile<T, kSide<T> / kDown, kWidth / kAcross>;

// A matrix in shared memory: element (i, k) is data[i * row + k * column].
template <class T>
struct Matrix {
  const T* data;
  int32 row, column;
};

template <class T>
TW_DEVICE Matrix<T> transposed(Matrix<T> m) {
  return {m.data, m.column, m.row};
}

// sum(i, j) += sum over kChunk k of a(i, k) * b(k, j).
template <class T, class Sum>
TW_DEVICE void add_product(Sum& sum, Matrix<T> a, Matrix<T> b) {
  const T* left = a.data + thread_row() * a.row;
  const T* right = b.data + thread_column() * b.column;
  TW_UNROLL_4
  for (int32 k = 0; k < kChunk; ++k) {
    T row[Sum::kRows], column[Sum::kColumns];
    TW_UNROLL
    for (int32 i = 0; i < Sum::kRows; ++i) row[i] = left[i * kDown * a.row + k * a.column];
    TW_UNROLL
    for (int32 j = 0; j < Sum::kColumns; ++j) column[j] = right[k * b.row + j * kAcross * b.column];
    TW_UNROLL
    for (int32 i = 0; i < Sum::kRows; ++i) {
      TW_UNROLL
      for (int32 j = 0; j < Sum::kColumns; ++j) sum.at[i][j] += row[i] * column[j];
    }
  }
}

// Rows of a tensor, by the index of each row's first element.
template <class T>
struct Rows {
  const Tensor& tensor;
  const int64* at;  // in shared memory; kNowhere means a row of zeros
  int64 dim;
  T factor;
};

// Selects member by member: a choice between two references would spill both to memory.
template <class T>
TW_DEVICE Rows<T> either(bool is_left, const Rows<T>& left, const Rows<T>& right) {
  return {is_left ? left.tensor : right.tensor, is_left ? left.at : right.at,
          is_left ? left.dim : right.dim, is_left ? left.factor : right.factor};
}

// Loads a tile of `rows` x `columns` elements, from column `first` on, times from.factor. The
// tile's rows are columns + 1 apart in `to`, which avoids bank conflicts when threads walk down a
// column. Elements that do not exist become 0.
template <int32 rows, int32 columns, class T>
TW_DEVICE void load_tile(const Rows<T>& from, int64 first, T* to) {
  constexpr int32 kTogether = 4;
  static_assert(rows * columns % (kThreads * kTogether) == 0);
  TW_ROLLED
  for (int32 n = thread_index(); n < rows * columns; n += kThreads * kTogether) {
    const uint8* at[kTogether];
    T numbers[kTogether];
    TW_UNROLL
    for (int32 m = 0; m < kTogether; ++m) {
      const int32 element = n + m * kThreads;
      const int64 row = from.at[element / columns], column = first + element % columns;
      const bool exists = row != kNowhere && column < from.dim;
      at[m] = exists ? place_in(from.tensor, row + column) : nullptr;
    }
    load_each(from.tensor.dtype, at, numbers);
    TW_UNROLL
    for (int32 m = 0; m < kTogether; ++m) {
      const int32 element = n + m * kThreads;
      to[element / columns * (columns + 1) + element % columns] =
          at[m] ? numbers[m] * from.factor : T(0);
    }
  }
}

// Adds weights * rows to `sums`, for kWidth columns of `rows` from `first` on. `weights` has kSide
// columns; `piece` holds kChunk rows at a time. Begins with a barrier. The caller needs one before
// it changes `weights` or `piece`.
template <class T>
TW_DEVICE void add_weighted(SumRegisters<T>& sums, Matrix<T> weights, const Rows<T>& rows,
                            int64 first, T* piece) {
  TW_ROLLED
  for (int32 k = 0; k < kSide<T>; k += kChunk) {
    block_barrier();
    load_tile<kChunk, kWidth>(Rows<T>{rows.tensor, rows.at + k, rows.dim, rows.factor}, first,
                              piece);
    block_barrier();
    add_product<T>(sums, {weights.data + k * weights.column, weights.row, weights.column},
                   {piece, kWidth + 1, 1});
  }
}

}  // namespace tilewise::cuda::plain
