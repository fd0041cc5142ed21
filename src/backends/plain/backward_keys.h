// Backward's pass over keys: a task owns a tile of keys and walks all queries that see it, of all
// heads of the group, and so needs no atomics.
#pragma once

#include "backends/plain/backward_tile.h"

namespace tilewise::plain {

template <class T>
struct KeyScratch {
  KeyScratch(const Shape& shape, Arena& arena)
      : tile(shape, arena),
        key(arena.take<T>(kTileColumns * shape.dim)),
        value(arena.take<T>(kTileColumns * shape.value_dim)) {}

  BackwardTile<T> tile;
  T* key;    // [column][dim], the gradient before the scale
  T* value;  // [column][value_dim]
};

// Adds query head `head`'s part to the gradients of one tile of its keys and values.
template <class T>
void add_key_gradient(const Head<T>& head, Range columns, const RowSums<T>& sums,
                      KeyScratch<T>& scratch) {
  const Shape& shape = head.problem.shape;
  BackwardTile<T>& tile = scratch.tile;
  tile.load_columns(head, columns);
  head.for_each_query_tile(columns, kTileRows, [&](Range rows) {
    tile.load_rows(head, rows, sums);
    tile.differentiate(head, rows, columns);
    add_product<T>({columns.size(), rows.size(), shape.value_dim, shape.value_dim},
                   transposed(Matrix<T>{tile.weights, kTileColumns, 1}), tile.output_gradient,
                   scratch.value, tile.scores.apart);
    add_product<T>({columns.size(), rows.size(), shape.dim, shape.dim},
                   transposed(Matrix<T>{tile.raw_gradient, kTileColumns, 1}), tile.scores.query,
                   scratch.key, tile.scores.apart);
  });
}

template <class T>
void find_key_gradients(const Problem& p, const Task& task, const RowSums<T>& sums,
                        KeyScratch<T>& scratch) {
  const Place place = place_of(p.keys, task.b);
  const Range columns = tile_range(task.tile, kTileColumns, place.length);
  if (columns.empty()) return;
  for (int64 n = 0; n < columns.size() * p.shape.dim; ++n) scratch.key[n] = 0;
  for (int64 n = 0; n < columns.size() * p.shape.value_dim; ++n) scratch.value[n] = 0;
  for (int64 g = 0; g < p.shape.group(); ++g)
    add_key_gradient(Head<T>(p, task.b, task.h * p.shape.group() + g), columns, sums, scratch);

  const auto put = [&](const View& to, int64 dim, T factor, const T* from) {
    for (int64 j = 0; to && j < columns.size(); ++j)
      store_row(to, {row_of(p.keys, to, place, task.h, columns.begin + j), dim}, factor,
                from + j * dim);
  };
  const T scale = static_cast<T>(p.scores.scale);
  put(p.gradients.key, p.shape.dim, scale, scratch.key);
  put(p.gradients.value, p.shape.value_dim, T(1), scratch.value);
}

}  // namespace tilewise::plain
