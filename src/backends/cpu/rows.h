// Rows of a tile: where they begin, and how they come into scratch memory as numbers of one type
// whatever the caller's are, and out again.
#pragma once

#include <cstdint>

#include "backends/cpu/lanes.h"

namespace tilewise::cpu {

// The keys of one head of one sequence, and a span of a tile's lanes.
struct KeyHead {
  const Side& side;
  const Place& place;
  int64 head;
};

struct LaneSpan {
  const QueryTile& tile;
  int64 first, count;
};

// Where rows of a tensor begin in memory.
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

// Rows of any type into scratch; those that no instruction set reads go number by number.
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

// A stretch of keys where they lie, as `score` takes them; no data where they must be copied.
template <class T>
Matrix<const T> keys_in_place(const Problem& p, const Kernels<T>& kernels, const KeyHead& of,
                              Range rows) {
  const View& view = p.key;
  const int64 packed = kernels.packed();
  const bool is_type = core::bytes_of(view.dtype) * packed == sizeof(T);
  const bool is_whole =
      p.shape.dim % (kernels.lanes * packed) == 0 && view.stride.row % packed == 0;
  // What `score` reads beyond the last row has to be there.
  const int64 read =
      kernels.ends ? core::round_up(rows.size(), kRowStep) : rows.size() + kKeysBeyond;
  const bool is_last = rows.begin + read > of.place.length;
  if (!is_type || !is_whole || is_last || of.side.paged() || p.scaling.key) return {};
  const std::byte* at = view.at(row_of(of.side, view, of.place, of.head, rows.begin));
  if (reinterpret_cast<std::uintptr_t>(at) % sizeof(T) != 0) return {};
  return {reinterpret_cast<const T*>(at), view.stride.row / packed};
}

// Whether decoding must copy rows of `dim` numbers, which it would rather use where they lie.
template <class T>
bool is_copied(const View& rows, const View& scaling, int64 dim, const Kernels<T>& kernels) {
  const bool small = rows.dtype == DType::kBFloat16 || rows.dtype == DType::kFloat16;
  const bool read = sizeof(T) == sizeof(double) ? rows.dtype == DType::kFloat64
                                                : small || rows.dtype == DType::kFloat32;
  return !read || scaling || dim % kernels.lanes != 0;
}

// Rows as `score` takes them, into scratch.
template <class T>
void load_operand(const Kernels<T>& kernels, const Rows& rows, T factor, Matrix<T> to,
                  int64 padded) {
  return kernels.pairs() ? kernels.rows.load(rows, factor, to, padded)
                         : load_lanes(kernels, rows, factor, to, padded);
}

// Rows as the right side of add_product, into scratch.
template <class T>
void load_right(const Kernels<T>& kernels, const Rows& rows, T factor, Matrix<T> to, int64 padded) {
  return kernels.pairs() ? kernels.rows.load_right(rows, factor, to, padded)
                         : load_lanes(kernels, rows, factor, to, padded);
}

// Rows of `from`, each times its factor, into memory. Types that no instruction set writes go
// number by number.
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
