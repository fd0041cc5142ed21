// The passes of backward that own query rows: delta first, and last the query gradient, on whose
// way the slopes' gradient is found. Each task writes what no other task writes.
#pragma once

#include "backends/plain/backward_tile.h"

namespace tilewise::plain {

template <class T>
void find_delta(const Head<T>& head, Range rows, int64 tile, const RowSums<T>& sums) {
  const Problem& p = head.problem;
  const View& incoming = p.gradients.output;
  const T factor = head.factor(p.scaling.output_gradient);
  const int64 index = head.b * p.shape.heads + head.h;
  const T sink = head.sink();
  T share = 0;
  for (int64 i = rows.begin; i < rows.end; ++i) {
    const int64 output = p.queries.row(p.output, head.queries, head.h, i);
    const int64 gradient = p.queries.row(incoming, head.queries, head.h, i);
    T sum = 0;
    for (int64 c = 0; c < p.shape.value_dim; ++c)
      sum += load<T>(p.output, output + c) * load<T>(incoming, gradient + c) * factor;
    const View& through_lse = p.gradients.lse;
    if (through_lse)
      sum -= load<T>(through_lse, p.queries.row(through_lse, head.queries, head.h, i));
    sums.delta[index * p.shape.queries + i] = sum;
    const T lse = load<T>(p.lse, p.queries.row(p.lse, head.queries, head.h, i));
    share -= core::exp2((sink - core::shift(lse)) * core::log2e<T>()) * sum;
  }
  if (sums.sinks) sums.sinks[index * sums.tiles + tile] = share;
}

template <class T>
struct QueryScratch {
  QueryScratch(const Shape& shape, Arena& arena)
      : tile(shape, arena), query(arena.take<T>(kTileRows * shape.dim)) {}

  BackwardTile<T> tile;
  T* query;  // [row][dim], the gradient before the scale
};

template <class T>
T slope_share(const Head<T>& head, Range rows, Range columns, const T* gradient) {
  T sum = 0;
  for (int64 i = 0; i < rows.size(); ++i) {
    for (int64 j = 0; j < columns.size(); ++j) {
      const int64 away = core::distance(rows.begin + i, columns.begin + j, head.band.diagonal);
      sum += gradient[i * kTileColumns + j] * head.alibi.derivative(away);
    }
  }
  return sum;
}

template <class T>
void find_query_gradient(const Head<T>& head, Range rows, int64 tile, const RowSums<T>& sums,
                         QueryScratch<T>& scratch) {
  const Problem& p = head.problem;
  const int64 dim = p.shape.dim;
  T share = 0;
  for (int64 n = 0; n < rows.size() * dim; ++n) scratch.query[n] = 0;
  scratch.tile.load_rows(head, rows, sums);
  head.for_each_key_tile(rows, [&](Range columns) {
    scratch.tile.load_columns(head, columns);
    scratch.tile.differentiate(head, rows, columns);
    add_product<T>({rows.size(), columns.size(), dim}, {scratch.tile.raw_gradient, kTileColumns, 1},
                   scratch.tile.scores.key, scratch.query, dim, scratch.tile.scores.apart);
    if (sums.slopes) share += slope_share(head, rows, columns, scratch.tile.gradient);
  });
  if (sums.slopes) sums.slopes[(head.b * p.shape.heads + head.h) * sums.tiles + tile] = share;
  const View& to = p.gradients.query;
  if (!to) return;
  for (int64 i = 0; i < rows.size(); ++i)
    store_row(to, p.queries.row(to, head.queries, head.h, rows.begin + i), dim,
              static_cast<T>(p.scores.scale), scratch.query + i * dim);
}

}  // namespace tilewise::plain
