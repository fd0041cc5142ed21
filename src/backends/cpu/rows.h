// Finds the rows of a tile in the caller's memory, loads them into scratch memory in the kernels'
// type, and stores results.
#pragma once

#include <cstdint>

#include "backends/cpu/lanes.h"

namespace tilewise::cpu {

// KeyHead: the keys of one head of one sequence. LaneSpan: `count` lanes of a tile.
struct KeyHead {
  const Side& side;
  const Place& place;
  int64 head;
};

struct LaneSpan {
  const QueryTile& tile;
  int64 first, count;
};

// The addresses of rows of a tensor. of_keys and of_lanes fill the list.
struct RowList {
  std::byte** at;

  Rows of_keys(const View& view, const KeyHead& of, Range rows, int64 dim) const {
    const auto row = [&](int64 i) { return view.at(row_of(of.side, view, of.place, of.head, i)); };
    if (of.side.paged()) {
      for (int64 i = 0; i < rows.size(); ++i) at[i] = row(rows.begin + i);
    } else if (!rows.empty()) {
      std::byte* const first = row(rows.begin);
      const int64 step = view.stride.row * core::bytes_of(view.dtype);
      for (int64 i = 0; i < rows.size(); ++i) at[i] = first + i * step;
    }
    return {at, rows.size(), dim, view.dtype};
  }

  Rows of_lanes(const Problem& p, const View& view, const LaneSpan& span, int64 dim) const {
    const QueryTile& tile = span.tile;
    const Place place = place_of(p.queries, tile.b);
    for (int64 n = 0; n < span.count; ++n) {
      const int64 lane = span.first + n;
      at[n] = view.at(row_of(p.queries, view, place, tile.head(lane), tile.row(lane)));
    }
    return {at, span.count, dim, view.dtype};
  }
};

template <class T>
T factor_of(const View& scaling, int64 b, int64 key_head) {
  return scaling ? load<T>(scaling, scaling.offset(b, key_head, 0, 0)) : T(1);
}

// Loads rows of any type into scratch memory, times `factor`. If only one of T and rows.dtype is
// double, numbers are converted one by one, because no kernel does it.
template <class T>
void load_lanes(const Kernels<T>& kernels, const Rows& rows, T factor, Matrix<T> to, int64 padded) {
  const bool wide = sizeof(T) == sizeof(double);
  if (wide == (rows.dtype == DType::kFloat64)) return kernels.rows.widen(rows, factor, to, padded);
  for (int64 r = 0; r < padded; ++r) {
    for (int64 c = 0; c < to.pitch; ++c)
      to.data[r * to.pitch + c] =
          r < rows.count && c < rows.dim
              ? load<T>(rows.dtype, rows.at[r] + c * core::bytes_of(rows.dtype)) * factor
              : T(0);
  }
}

// A range of keys in the caller's memory, if `score` can read them there; else null data, and the
// keys must be copied.
template <class T>
Matrix<const T> keys_in_place(const Problem& p, const Kernels<T>& kernels, const KeyHead& of,
                              Range rows) {
  const View& view = p.key;
  const int64 packed = kernels.packed();
  const bool is_type = core::bytes_of(view.dtype) * packed == sizeof(T);
  const bool is_whole =
      p.shape.dim % (kernels.lanes * packed) == 0 && view.stride.row % packed == 0;
  // `score` reads beyond the last row, so the rows behind it must exist too.
  const int64 read =
      kernels.ends ? core::round_up(rows.size(), kRowStep) : rows.size() + kKeysBeyond;
  const bool is_last = rows.begin + read > of.place.length;
  if (!is_type || !is_whole || is_last || of.side.paged() || p.scaling.key) return {};
  const std::byte* at = view.at(row_of(of.side, view, of.place, of.head, rows.begin));
  if (reinterpret_cast<std::uintptr_t>(at) % sizeof(T) != 0) return {};
  return {reinterpret_cast<const T*>(at), view.stride.row / packed};
}

// Whether decoding must copy rows of `dim` numbers before it uses them.
template <class T>
bool is_copied(const View& rows, const View& scaling, int64 dim, const Kernels<T>& kernels) {
  const bool small = rows.dtype == DType::kBFloat16 || rows.dtype == DType::kFloat16;
  const bool read = sizeof(T) == sizeof(double) ? rows.dtype == DType::kFloat64
                                                : small || rows.dtype == DType::kFloat32;
  return !read || scaling || dim % kernels.lanes != 0;
}

// Loads rows into scratch memory in the layout that `score` reads.
template <class T>
void load_operand(const Kernels<T>& kernels, const Rows& rows, T factor, Matrix<T> to,
                  int64 padded) {
  return kernels.pairs() ? kernels.rows.load(rows, factor, to, padded)
                         : load_lanes(kernels, rows, factor, to, padded);
}

// Loads rows into scratch memory in the layout of add_product's right side.
template <class T>
void load_right(const Kernels<T>& kernels, const Rows& rows, T factor, Matrix<T> to, int64 padded) {
  return kernels.pairs() ? kernels.rows.load_right(rows, factor, to, padded)
                         : load_lanes(kernels, rows, factor, to, padded);
}

// Stores rows of `from`, each times its factor. Types that no kernel writes are converted one by
// one.
template <class T>
void store_lanes(const Kernels<T>& kernels, const Rows& rows, const T* factor,
                 Matrix<const T> from) {
  const bool wide = sizeof(T) == sizeof(double);
  if (wide ? rows.dtype == DType::kFloat64
           : rows.dtype == DType::kFloat32 || rows.dtype == DType::kFloat16 ||
                 rows.dtype == DType::kBFloat16)
    return kernels.rows.store(rows, factor, from);
  const int64 bytes = core::bytes_of(rows.dtype);
  for (int64 r = 0; r < rows.count; ++r)
    for (int64 c = 0; c < rows.dim; ++c)
      tilewise::store(rows.dtype, rows.at[r] + c * bytes,
                      from.data[r * from.pitch + c] * factor[r]);
}

}  // namespace tilewise::cpu
