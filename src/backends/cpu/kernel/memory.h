// Kernels that load rows into scratch memory and store them.
#pragma once

#include "backends/cpu/kernels.h"
#include "backends/cpu/simd/convert.h"
#include "backends/cpu/simd/transpose.h"

namespace tilewise::cpu {

template <class Isa, class T>
struct Memory {
  using L = Lanes<Isa, T>;
  using V = typename L::V;
  static constexpr int64 kLanes = L::kCount, kPitch = kLanes * Isa::kVectors;
  static constexpr int64 kPrefetchedRows = 8;

  // Reads `count` numbers of type `dtype` as T, times `factor`.
  TW_INLINE static void read(DType dtype, const void* from, int64 count, T factor, T* to) {
    if constexpr (sizeof(T) == 8) {
      const double* numbers = static_cast<const double*>(from);
      for (int64 i = 0; i < count; ++i) to[i] = numbers[i] * factor;
    } else {
      switch (dtype) {
        case DType::kFloat32:
          return Elements<Isa, DType::kFloat32>::read(from, count, factor, to);
        case DType::kBFloat16:
          return Elements<Isa, DType::kBFloat16>::read(from, count, factor, to);
        case DType::kFloat16:
          return Elements<Isa, DType::kFloat16>::read(from, count, factor, to);
        case DType::kFloat8E4M3:
          return Elements<Isa, DType::kFloat8E4M3>::read(from, count, factor, to);
        default:
          return Elements<Isa, DType::kFloat8E5M2>::read(from, count, factor, to);
      }
    }
  }

  TW_INLINE static void zero(T* to, int64 count) {
    for (int64 i = 0; i < count; ++i) to[i] = 0;
  }

  // Prefetches row r, whose stride is often too large for the hardware prefetcher.
  TW_INLINE static void fetch(const Rows& rows, int64 r) {
    fetch_by(rows, r, [](const std::byte* at) TW_INLINE_LAMBDA { __builtin_prefetch(at); });
  }

  // Prefetches row r to write it: this core takes over cache lines that another core holds.
  TW_INLINE static void fetch_to_write(const Rows& rows, int64 r) {
    fetch_by(rows, r, [](const std::byte* at) TW_INLINE_LAMBDA { __builtin_prefetch(at, 1); });
  }

  template <class Fetch>
  TW_INLINE static void fetch_by(const Rows& rows, int64 r, Fetch fetch_line) {
    if (r >= rows.count) return;
    const int64 bytes = rows.dim * core::bytes_of(rows.dtype);
    for (int64 i = 0; i < bytes; i += kLine) fetch_line(rows.at[r] + i);
  }

  static void load_rows(const Rows& rows, T factor, Matrix<T> to, int64 padded) {
    for (int64 r = 0; r < rows.count; ++r) {
      fetch(rows, r + kPrefetchedRows);
      T* row = to.data + r * to.pitch;
      read(rows.dtype, rows.at[r], rows.dim, factor, row);
      zero(row + rows.dim, to.pitch - rows.dim);
    }
    for (int64 r = rows.count; r < padded; ++r) zero(to.data + r * to.pitch, to.pitch);
  }

  static void load_panels(const Rows& rows, T factor, T* to, int64 panel_keys, T* row) {
    const int64 padded = (rows.dim + kPanel - 1) / kPanel * kPanel;
    zero(row + rows.dim, padded - rows.dim);
    for (int64 r = 0; r < rows.count; ++r) {
      fetch(rows, r + kPrefetchedRows);
      read(rows.dtype, rows.at[r], rows.dim, factor, row);
      for (int64 c = 0; c < padded; c += kPanel)
        for (int64 i = 0; i < kPanel; ++i) to[(c * panel_keys) + r * kPanel + i] = row[c + i];
    }
  }

  static void store_rows(const Rows& rows, const T* factor, Matrix<const T> from) {
    for (int64 r = 0; r < rows.count; ++r) {
      fetch_to_write(rows, r + kPrefetchedRows);
      const T* row = from.data + r * from.pitch;
      if constexpr (sizeof(T) == 8) {
        double* to = reinterpret_cast<double*>(rows.at[r]);
        for (int64 i = 0; i < rows.dim; ++i) to[i] = row[i] * factor[r];
      } else if (rows.dtype == DType::kFloat32) {
        Elements<Isa, DType::kFloat32>::write(rows.at[r], rows.dim, factor[r], row);
      } else if (rows.dtype == DType::kBFloat16) {
        Elements<Isa, DType::kBFloat16>::write(rows.at[r], rows.dim, factor[r], row);
      } else {
        Elements<Isa, DType::kFloat16>::write(rows.at[r], rows.dim, factor[r], row);
      }
    }
  }

  static void to_lanes(Matrix<const T> from, int64 columns, int64 vectors, T* to) {
    transpose<Isa, T>(from, {to, kPitch}, vectors * kLanes, columns);
  }

  static void from_lanes(const T* from, int64 columns, int64 vectors, Matrix<T> to) {
    transpose<Isa, T>({from, kPitch}, to, columns, vectors * kLanes);
  }

  // A plain loop: compilers vectorise it better than code that says how bytes become masks.
  static void hide_rows(const Rows& bytes, Matrix<T> to) {
    const int64 columns = bytes.dim;
    for (int64 r = 0; r < bytes.count; ++r) {
      const auto* seen = reinterpret_cast<const uint8*>(bytes.at[r]);
      T* row = to.data + r * to.pitch;
      for (int64 c = 0; c < columns; ++c) row[c] = seen[c] == 0 ? -kInfinity<T> : row[c];
    }
  }
};

}  // namespace tilewise::cpu
