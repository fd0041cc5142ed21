// Bias, boolean mask and block mask of a tile as one matrix that is added to its scores, -inf where
// a mask hides. The caller's rows are queries, and so are the tile's lanes: rows are loaded into
// scratch memory and transposed.
#pragma once

#include <algorithm>
#include <cstring>

#include "backends/cpu/rows.h"

namespace tilewise::cpu {

template <class T>
struct BiasScratch {
  BiasScratch(const Problem& p, const Kernels<T>& kernels, Arena& arena) {
    if (!p.scores.bias && !p.mask.visible && !p.mask.blocks) return;
    list = arena.take<std::byte*>(kernels.pitch);
    rows = arena.take<T>(kernels.lanes * kernels.keys);
    lanes = arena.take<T>(kernels.keys * kernels.pitch);
  }

  std::byte** list = nullptr;
  T* rows = nullptr;   // [lane][key], of one vector of lanes
  T* lanes = nullptr;  // [key][lane]
};

template <class T>
class Bias {
 public:
  Bias(const Problem& problem, const Kernels<T>& kernels, const BiasScratch<T>& scratch)
      : p_(problem), kernels_(kernels), scratch_(scratch) {}

  // The matrix of a tile, [key][lane]; null if it adds nothing and hides nothing.
  const T* load(const QueryTile& tile, const Bundle<T>& bundle, Range columns) const {
    const LaneSpan all{tile, bundle.first, bundle.count};
    const bool shows = shows_all(all, columns), in_blocks = has_all_blocks(all, columns);
    if (!p_.scores.bias && shows && in_blocks) return nullptr;
    const int64 pitch = core::round_up(columns.size(), kernels_.lanes);
    for (int64 first = 0; first < bundle.count; first += kernels_.lanes) {
      const LaneSpan span{tile, bundle.first + first,
                          core::smaller(kernels_.lanes, bundle.count - first)};
      load_rows(span, columns, {scratch_.rows, pitch});
      if (!shows) hide_bytes(span, columns, {scratch_.rows, pitch});
      if (!in_blocks) hide_blocks(span, columns, {scratch_.rows, pitch});
      kernels_.rows.numbers_to_lanes({scratch_.rows, pitch}, pitch, 1, scratch_.lanes + first);
    }
    return scratch_.lanes;
  }

  // The rows that `load` will read: of the bias if there is one, else of the boolean mask.
  Prefetch prefetch(const QueryTile& tile, const Bundle<T>& bundle, Range columns) const {
    const View& view = p_.scores.bias ? p_.scores.bias : p_.mask.visible;
    if (!view || view.stride.column == 0) return {};
    const Rows rows = rows_of(view, {tile, bundle.first, bundle.count}, columns);
    return {rows.at, rows.count, rows.dim * core::bytes_of(rows.dtype)};
  }

 private:
  // The span's rows of `view`, from column columns.begin on. A row has a single element if the view
  // has one column for all keys.
  Rows rows_of(const View& view, const LaneSpan& span, Range columns) const {
    const QueryTile& tile = span.tile;
    for (int64 n = 0; n < span.count; ++n) {
      const int64 lane = span.first + n;
      scratch_.list[n] =
          view.at(view.offset(tile.b, tile.head(lane), tile.row(lane), columns.begin));
    }
    return {scratch_.list, span.count, view.stride.column == 0 ? 1 : columns.size(), view.dtype};
  }

  void load_rows(const LaneSpan& span, Range columns, Matrix<T> to) const {
    const View& view = p_.scores.bias;
    if (!view) {
      std::fill(to.data, to.data + kernels_.lanes * to.pitch, T(0));
      return;
    }
    const Rows rows = rows_of(view, span, columns);
    load_lanes(kernels_, rows, T(1), to, kernels_.lanes);
    if (rows.dim == columns.size()) return;
    for (int64 n = 0; n < rows.count; ++n) fill(to, n, columns.size(), to.data[n * to.pitch]);
  }

  // Whether the boolean mask hides no key from the span's lanes.
  bool shows_all(const LaneSpan& span, Range columns) const {
    const View& view = p_.mask.visible;
    const QueryTile& tile = span.tile;
    for (int64 lane = span.first; view && lane < span.first + span.count; ++lane) {
      const LaneSpan one{tile, lane, 1};
      const Rows row = rows_of(view, one, columns);
      if (std::memchr(row.at[0], 0, static_cast<std::size_t>(row.dim))) return false;
    }
    return true;
  }

  void hide_bytes(const LaneSpan& span, Range columns, Matrix<T> to) const {
    const Rows bytes = rows_of(p_.mask.visible, span, columns);
    if (bytes.dim == columns.size()) return kernels_.rows.hide(bytes, to);
    for (int64 n = 0; n < bytes.count; ++n)
      if (bytes.at[n][0] == std::byte{0}) fill(to, n, columns.size(), -core::infinity<T>());
  }

  bool has_all_blocks(const LaneSpan& span, Range columns) const {
    return !p_.mask.blocks || blocks_of(span).cover(queries_of(span), columns) == Cover::kAll;
  }

  void hide_blocks(const LaneSpan& span, Range columns, Matrix<T> to) const {
    const core::BlockMask blocks = blocks_of(span);
    const Range all = queries_of(span);
    for_each_part(all, blocks.rows, [&](Range rows) {
      for_each_part(columns, blocks.columns, [&](Range keys) {
        if (blocks.visible(rows.begin, keys.begin)) return;
        const int64 first = keys.begin - columns.begin;
        for (int64 i = rows.begin; i < rows.end; ++i)
          fill({to.data + first, to.pitch}, i - all.begin, keys.size(), -core::infinity<T>());
      });
    });
  }

  // Calls body(part of `all` in the block) for each block of `block` indices that `all` touches.
  template <class Body>
  static void for_each_part(Range all, int64 block, Body body) {
    for (int64 n = all.begin / block; n * block < all.end; ++n)
      body(core::intersect(all, {n * block, (n + 1) * block}));
  }

  // With a block mask a tile has rows of one head only (task_grid.h).
  core::BlockMask blocks_of(const LaneSpan& span) const {
    return tilewise::blocks_of(p_, span.tile.b, span.tile.first_head);
  }
  static Range queries_of(const LaneSpan& span) {
    const int64 first = span.tile.rows.begin + span.first;
    return {first, first + span.count};
  }

  static void fill(Matrix<T> to, int64 row, int64 count, T number) {
    std::fill(to.data + row * to.pitch, to.data + row * to.pitch + count, number);
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  const BiasScratch<T>& scratch_;
};

}  // namespace tilewise::cpu
