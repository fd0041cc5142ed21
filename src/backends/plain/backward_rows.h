// Backward's two passes over query rows. One runs before all other passes and finds the
// denominators and delta of RowSums; the other runs after the pass over keys and finds the
// gradients of queries and slopes. No two tasks write the same number.
#pragma once

#include "backends/plain/backward_tile.h"

namespace tilewise::plain {

template <class T>
struct QueryScratch {
  QueryScratch(const Shape& shape, Arena& arena)
      : tile(shape, arena),
        query(arena.take<T>(kTileRows * shape.dim)),
        own(arena.take<core::Row<T>>(kTileRows)) {}

  BackwardTile<T> tile;
  T* query;           // [row][dim], the gradient before the scale
  core::Row<T>* own;  // [row], see find_denominators
};

// Whether lse is so large that its rounding error shows in weights computed from it.
inline bool is_coarse(const View& view, double lse) {
  const double place = view.dtype == DType::kFloat64 ? 0x1p-52 : 0x1p-23;
  return core::absolute(lse) * place > 0x1p-13 && core::absolute(lse) < core::infinity<double>();
}

// Computes the denominators of a tile's rows again, from the rows' own keys and sink.
template <class T>
void sum_rows(const Head<T>& head, Range rows, ScoreTile<T>& tile, core::Row<T>* own) {
  for (int64 i = 0; i < rows.size(); ++i) own[i] = core::row_of(head.sink());
  tile.load_query(head, rows);
  head.for_each_key_tile(rows, kTileColumns, [&](Range columns) {
    tile.load_key(head, columns);
    tile.score(head, rows, columns);
    for (int64 i = 0; i < rows.size(); ++i) {
      const T* scores = tile.scores + i * kTileColumns;
      core::Row<T> seen;
      for (int64 j = 0; j < columns.size(); ++j) seen.max = core::running_max(seen.max, scores[j]);
      for (int64 j = 0; j < columns.size(); ++j)
        seen.sum += core::exp2(scores[j] - core::shift(seen.max));
      own[i] = core::merge(own[i], seen);
    }
  });
}

// Finds denominators from lse. A coarse lse is too inexact: if 40 keys all score -1e9, float32 has
// no digits left for log 40. For such a row the sum is computed again from the row's own keys, and
// is used if its lse agrees with the given one within rounding. If not, the given lse covers more
// keys, as after a merge, and is used as it is. `own` has room for a tile's rows.
template <class T>
void find_denominators(const Head<T>& head, Range rows, const RowSums<T>& sums, ScoreTile<T>& tile,
                       core::Row<T>* own) {
  const Problem& p = head.problem;
  core::Row<T>* to = sums.denominator + sums.first_row(head) + rows.begin;
  const auto given = [&](int64 i) {
    return load<T>(p.lse, row_of(p.queries, p.lse, head.queries, head.h, rows.begin + i));
  };
  bool coarse = false;
  for (int64 i = 0; i < rows.size(); ++i) {
    to[i] = core::row_of(given(i));
    coarse = coarse || is_coarse(p.lse, given(i));
  }
  if (!coarse) return;
  sum_rows(head, rows, tile, own);
  for (int64 i = 0; i < rows.size(); ++i) {
    const T apart = core::absolute(core::lse(own[i]) - given(i));
    const T place =
        core::absolute(given(i)) * T(p.lse.dtype == DType::kFloat64 ? 0x1p-51 : 0x1p-22);
    if (is_coarse(p.lse, given(i)) && apart <= place) to[i] = own[i];
  }
}

// Finds delta of a tile's rows, and their part of the sink's gradient.
template <class T>
void find_delta(const Head<T>& head, Range rows, int64 tile, const RowSums<T>& sums) {
  const Problem& p = head.problem;
  const View& incoming = p.gradients.output;
  const T factor = head.factor(p.scaling.output_gradient);
  const core::Row<T> sink = core::row_of(head.sink());
  const core::Row<T>* denominator = sums.denominator + sums.first_row(head);
  T part = 0;
  for (int64 i = rows.begin; i < rows.end; ++i) {
    const int64 output = row_of(p.queries, p.output, head.queries, head.h, i);
    const int64 gradient = row_of(p.queries, incoming, head.queries, head.h, i);
    T sum = 0;
    for (int64 c = 0; c < p.shape.value_dim; ++c)
      sum += load<T>(p.output, output + c) * load<T>(incoming, gradient + c) * factor;
    const View& through_lse = p.gradients.lse;
    if (through_lse)
      sum -= load<T>(through_lse, row_of(p.queries, through_lse, head.queries, head.h, i));
    sums.delta[sums.first_row(head) + i] = sum;
    if (sums.sinks && sink.sum != 0) part -= weight_in(denominator[i], sink.max) * sum;
  }
  if (sums.sinks) sums.sinks[(head.b * p.shape.heads + head.h) * sums.tiles + tile] = part;
}

template <class T>
T slope_part(const Head<T>& head, Range rows, Range columns, const T* gradient) {
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
  T part = 0;
  for (int64 n = 0; n < rows.size() * dim; ++n) scratch.query[n] = 0;
  scratch.tile.load_rows(head, rows, sums);
  head.for_each_key_tile(rows, kTileColumns, [&](Range columns) {
    scratch.tile.load_columns(head, columns);
    scratch.tile.differentiate(head, rows, columns);
    add_product<T>({rows.size(), columns.size(), dim, dim},
                   {scratch.tile.raw_gradient, kTileColumns, 1}, scratch.tile.scores.key,
                   scratch.query, scratch.tile.scores.apart);
    if (sums.slopes) part += slope_part(head, rows, columns, scratch.tile.gradient);
  });
  if (sums.slopes) sums.slopes[(head.b * p.shape.heads + head.h) * sums.tiles + tile] = part;
  const View& to = p.gradients.query;
  if (!to) return;
  const auto scale = static_cast<T>(p.scores.scale);
  for (int64 i = 0; i < rows.size(); ++i)
    store_row(to, {row_of(p.queries, to, head.queries, head.h, rows.begin + i), dim}, scale,
              scratch.query + i * dim);
}

}  // namespace tilewise::plain
