// Backward's pass over the bias: a task owns a tile of the bias, sums the gradients of all scores
// that the tile was added to, and writes the sum once, so its memory does not grow with the bias.
#pragma once

#include "backends/plain/backward_tile.h"

namespace tilewise::plain {

template <class T>
struct BiasScratch {
  BiasScratch(const Shape& shape, Arena& arena)
      : tile(shape, arena), sum(arena.take<T>(kTileRows * kTileColumns)) {}

  BackwardTile<T> tile;
  T* sum;  // [row][column] of the bias's own tile
};

// A dimension of the bias, cut into tiles. serves(index, all) gives those of the `all` tiles of
// scores along this dimension to which tile `index` of the bias was added: the one with the same
// index, or all if the bias has size 1.
struct BiasAxis {
  BiasAxis(int64 size, int64 tile) : broadcast(size == 1), tiles(core::ceil_div(size, tile)) {}

  Range serves(int64 index, int64 all) const {
    return broadcast ? Range{0, all} : Range{index, core::smaller(index + 1, all)};
  }

  bool broadcast;
  int64 tiles;
};

struct BiasGrid {
  explicit BiasGrid(const Axes& size)
      : batch(size.batch, 1),
        head(size.head, 1),
        row(size.row, kTileRows),
        column(size.column, kTileColumns) {}

  int64 tasks() const { return batch.tiles * head.tiles * row.tiles * column.tiles; }

  BiasAxis batch, head, row, column;
};

// Adds the scores' gradients of one tile of one head to the bias's tile.
template <class T>
void add_bias_gradient(const Head<T>& head, Axes tile, const RowSums<T>& sums, const BiasGrid& grid,
                       BiasScratch<T>& scratch) {
  const Range rows = tile_range(tile.row, kTileRows, head.queries.length);
  const Range columns = tile_range(tile.column, kTileColumns, head.keys.length);
  if (rows.empty() || columns.empty() || head.cover(rows, columns) == Cover::kNone) return;
  scratch.tile.load_rows(head, rows, sums);
  scratch.tile.load_columns(head, columns);
  scratch.tile.differentiate(head, rows, columns);
  for (int64 i = 0; i < rows.size(); ++i) {
    for (int64 j = 0; j < columns.size(); ++j) {
      const int64 to =
          (grid.row.broadcast ? 0 : i) * kTileColumns + (grid.column.broadcast ? 0 : j);
      scratch.sum[to] += scratch.tile.gradient[i * kTileColumns + j];
    }
  }
}

template <class T>
void walk_served(const Problem& p, Axes own, const BiasGrid& grid, const RowSums<T>& sums,
                 BiasScratch<T>& scratch) {
  // A batch of empty sequences can be too large to loop over.
  if (p.shape.queries == 0 || p.shape.keys == 0) return;
  const Range batches = grid.batch.serves(own.batch, p.shape.batch);
  const Range heads = grid.head.serves(own.head, p.shape.heads);
  for (int64 b = batches.begin; b < batches.end; ++b) {
    for (int64 h = heads.begin; h < heads.end; ++h) {
      const Head<T> head(p, b, h);
      const Range rows = grid.row.serves(own.row, core::ceil_div(head.queries.length, kTileRows));
      const Range columns =
          grid.column.serves(own.column, core::ceil_div(head.keys.length, kTileColumns));
      for (int64 r = rows.begin; r < rows.end; ++r)
        for (int64 c = columns.begin; c < columns.end; ++c)
          add_bias_gradient(head, {b, h, r, c}, sums, grid, scratch);
    }
  }
}

template <class T>
void find_bias_gradient(const Problem& p, const BiasGrid& grid, int64 task, const RowSums<T>& sums,
                        BiasScratch<T>& scratch) {
  const View& to = p.gradients.bias;
  const int64 above = task / grid.column.tiles;
  const Axes own{above / grid.row.tiles / grid.head.tiles, above / grid.row.tiles % grid.head.tiles,
                 above % grid.row.tiles, task % grid.column.tiles};
  for (int64 n = 0; n < kTileRows * kTileColumns; ++n) scratch.sum[n] = 0;
  walk_served(p, own, grid, sums, scratch);
  const Range rows = tile_range(own.row, kTileRows, to.size.row);
  const Range columns = tile_range(own.column, kTileColumns, to.size.column);
  for (int64 i = 0; i < rows.size(); ++i)
    store_row(to, {to.offset(own.batch, own.head, rows.begin + i, columns.begin), columns.size()},
              T(1), scratch.sum + i * kTileColumns);
}

}  // namespace tilewise::plain
