// A tile of scores in scratch memory, and the steps that every pass shares: load rows, score, mask.
#pragma once

#include "backends/plain/product.h"
#include "host/head.h"
#include "plan/arena.h"

namespace tilewise::plain {

inline constexpr int64 kTileRows = 32, kTileColumns = 64;

// A tile's rows of query and key, the keys also transposed, as products need them, and the scores.
template <class T>
struct ScoreTile {
  ScoreTile(const Shape& shape, Arena& arena)
      : query(arena.take<T>(kTileRows * shape.dim)),
        key(arena.take<T>(kTileColumns * shape.dim)),
        key_columns(arena.take<T>(kTileColumns * shape.dim)),
        scores(arena.take<T>(kTileRows * kTileColumns)),
        capped(arena.take<T>(kTileRows * kTileColumns)),
        bias(arena.take<T>(kTileColumns)),
        apart(arena.take<T>(core::larger(core::larger(shape.dim, shape.value_dim), kTileColumns))) {
  }

  void load_query(const Head<T>& head, Range rows) {
    const Problem& p = head.problem;
    const T factor = head.factor(p.scaling.query);
    for (int64 i = 0; i < rows.size(); ++i)
      load_row(p.query,
               {row_of(p.queries, p.query, head.queries, head.h, rows.begin + i), p.shape.dim},
               factor, query + i * p.shape.dim);
  }

  void load_key(const Head<T>& head, Range columns) {
    const Problem& p = head.problem;
    const T factor = head.factor(p.scaling.key);
    for (int64 j = 0; j < columns.size(); ++j) {
      const int64 row = row_of(p.keys, p.key, head.keys, head.key_head, columns.begin + j);
      load_row(p.key, {row, p.shape.dim}, factor, key + j * p.shape.dim);
      for (int64 c = 0; c < p.shape.dim; ++c)
        key_columns[c * kTileColumns + j] = key[j * p.shape.dim + c];
    }
  }

  // Fills scores[i][j], in units of log2; -inf where row i does not see column j.
  void score(const Head<T>& head, Range rows, Range columns) {
    const Problem& p = head.problem;
    for (int64 n = 0; n < rows.size() * kTileColumns; ++n) scores[n] = 0;
    add_product<T>({rows.size(), p.shape.dim, columns.size(), kTileColumns},
                   {query, p.shape.dim, 1}, key_columns, scores, apart);
    const bool masked = head.cover(rows, columns) != Cover::kAll || p.mask.visible || p.scores.bias;
    for (int64 i = 0; i < rows.size(); ++i) {
      map(head, rows.begin + i, columns, i);
      if (masked) mask(head, rows.begin + i, columns, i);
      for (int64 j = 0; j < columns.size(); ++j) {
        T& s = scores[i * kTileColumns + j];
        s = s == -core::infinity<T>() ? s : core::to_log2(s);
      }
    }
  }

  T* query;        // [row][dim]
  T* key;          // [column][dim]
  T* key_columns;  // [dim][column]
  T* scores;       // [row][column]
  T* capped;       // [row][column]: scores between softcap and ALiBi, for softcap's derivative
  T* bias;         // [column]
  T* apart;        // see add_product

 private:
  // Maps q.k -> scale -> softcap -> ALiBi -> bias, for row `query_index`, which is row `i` of the
  // tile. Scores that overflow are made finite: -inf means hidden.
  void map(const Head<T>& head, int64 query_index, Range columns, int64 i) {
    const Problem& p = head.problem;
    const T scale = static_cast<T>(p.scores.scale);
    if (p.scores.bias) load_bias(head, query_index, columns);
    for (int64 j = 0; j < columns.size(); ++j) {
      T& s = scores[i * kTileColumns + j];
      s = core::finite(head.softcap(scale * s));
      capped[i * kTileColumns + j] = s;
      if (p.scores.slopes)
        s = core::finite(
            head.alibi(s, core::distance(query_index, columns.begin + j, head.band.diagonal)));
      if (p.scores.bias) s += bias[j];
      s = core::finite(s);
    }
  }

  void mask(const Head<T>& head, int64 query_index, Range columns, int64 i) {
    const Problem& p = head.problem;
    const View& visible = p.mask.visible;
    const int64 first = visible.offset(head.b, head.h, query_index, 0);
    const Range seen = head.band.visible_keys(query_index);
    for (int64 j = 0; j < columns.size(); ++j) {
      const int64 key_index = columns.begin + j;
      bool hidden = !seen.contains(key_index) || !head.blocks.visible(query_index, key_index);
      if (visible && *visible.at(first + key_index * visible.stride.column) == std::byte{0})
        hidden = true;
      if (p.scores.bias && bias[j] == -core::infinity<T>()) hidden = true;
      if (hidden) scores[i * kTileColumns + j] = -core::infinity<T>();
    }
  }

  void load_bias(const Head<T>& head, int64 query_index, Range columns) {
    const View& view = head.problem.scores.bias;
    load_broadcast(view, view.offset(head.b, head.h, query_index, 0), columns);
  }

  // Loads one row of the bias for `columns`. A bias with one column has one number for all keys.
  void load_broadcast(const View& view, int64 element, Range columns) {
    if (view.stride.column == 1) {
      load_row(view, {element + columns.begin, columns.size()}, T(1), bias);
      return;
    }
    const T value = load<T>(view, element);
    for (int64 j = 0; j < columns.size(); ++j) bias[j] = value;
  }
};

}  // namespace tilewise::plain
