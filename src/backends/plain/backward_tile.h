// One tile of the backward pass. It recomputes weights from scores and the rows' denominators, and
// computes the scores' gradients; each pass then takes the products that it needs.
#pragma once

#include "backends/plain/tasks.h"

namespace tilewise::plain {

// Numbers of each query row that the first pass finds: its denominator, as a Row whose weights are
// exp2(score - max) / sum; and delta_i = sum(dO_i * O_i) - dlse_i, the part of a score's gradient
// that comes through the denominator. Rows of head h of sequence b begin at (b * heads + h) *
// queries.
template <class T>
struct RowSums {
  RowSums(const Problem& p, Arena& arena) {
    const int64 heads = p.shape.batch * p.shape.heads;
    tiles = core::ceil_div(p.shape.queries, kTileRows);
    delta = arena.take<T>(heads * p.shape.queries);
    denominator = arena.take<core::Row<T>>(heads * p.shape.queries);
    if (p.gradients.slopes) slopes = arena.take<T>(heads * tiles);
    if (p.gradients.sinks) sinks = arena.take<T>(heads * tiles);
  }

  int64 first_row(const Head<T>& head) const {
    const Shape& shape = head.problem.shape;
    return (head.b * shape.heads + head.h) * shape.queries;
  }

  T* delta;
  core::Row<T>* denominator;
  T* slopes = nullptr;  // each row tile's part of the gradient, summed in order at the end
  T* sinks = nullptr;
  int64 tiles;
};

template <class T>
struct BackwardTile {
  BackwardTile(const Shape& shape, Arena& arena)
      : scores(shape, arena),
        value_columns(arena.take<T>(kTileColumns * shape.value_dim)),
        output_gradient(arena.take<T>(kTileRows * shape.value_dim)),
        weights(arena.take<T>(kTileRows * kTileColumns)),
        gradient(arena.take<T>(kTileRows * kTileColumns)),
        raw_gradient(arena.take<T>(kTileRows * kTileColumns)) {}

  void load_rows(const Head<T>& head, Range rows, const RowSums<T>& sums) {
    const Problem& p = head.problem;
    const View& from = p.gradients.output;
    const T factor = head.factor(p.scaling.output_gradient);
    delta = sums.delta + sums.first_row(head) + rows.begin;
    denominator = sums.denominator + sums.first_row(head) + rows.begin;
    scores.load_query(head, rows);
    for (int64 i = 0; i < rows.size(); ++i)
      load_row(from,
               {row_of(p.queries, from, head.queries, head.h, rows.begin + i), p.shape.value_dim},
               factor, output_gradient + i * p.shape.value_dim);
  }

  void load_columns(const Head<T>& head, Range columns) {
    const Problem& p = head.problem;
    const T factor = head.factor(p.scaling.value);
    scores.load_key(head, columns);
    for (int64 j = 0; j < columns.size(); ++j)
      load_row(
          p.value,
          {row_of(p.keys, p.value, head.keys, head.key_head, columns.begin + j), p.shape.value_dim},
          factor, value_columns + j, kTileColumns);
  }

  // Computes the members weights, gradient and raw_gradient for a tile of rows and columns.
  void differentiate(const Head<T>& head, Range rows, Range columns) {
    const int64 dim = head.problem.shape.value_dim;
    scores.score(head, rows, columns);
    for (int64 n = 0; n < rows.size() * kTileColumns; ++n) gradient[n] = 0;
    add_product<T>({rows.size(), dim, columns.size(), kTileColumns}, {output_gradient, dim, 1},
                   value_columns, gradient, scores.apart);
    const bool drops = head.problem.dropout.decide.active();
    const T kept = static_cast<T>(head.problem.dropout.decide.scale());
    for (int64 i = 0; i < rows.size(); ++i) {
      for (int64 j = 0; j < columns.size(); ++j) {
        const int64 n = i * kTileColumns + j;
        const bool hidden = scores.scores[n] == -core::infinity<T>();
        const T weight = hidden ? T(0) : weight_in(denominator[i], scores.scores[n]);
        T keep = 1;
        if (drops) keep = head.keeps(rows.begin + i, columns.begin + j) ? kept : T(0);
        weights[n] = weight * keep;
        gradient[n] = hidden ? T(0) : weight * (gradient[n] * keep - delta[i]);
        raw_gradient[n] = gradient[n] * head.softcap.derivative(scores.capped[n]);
      }
    }
  }

  ScoreTile<T> scores;
  T* value_columns;                           // [value_dim][column]
  T* output_gradient;                         // [row][value_dim]
  T* weights;                                 // [row][column]: probabilities after dropout
  T* gradient;                                // [row][column]: of the score that enters the softmax
  T* raw_gradient;                            // [row][column]: of scale * q.k, before the softcap
  const T* delta = nullptr;                   // [row], of the rows loaded last
  const core::Row<T>* denominator = nullptr;  // [row], likewise
};

}  // namespace tilewise::plain
