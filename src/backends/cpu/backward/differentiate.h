// The heart of backward: for a group of queries and a stretch of keys, the weights again and the
// scores' gradients.
#pragma once

#include "backends/cpu/backward/row_sums.h"
#include "backends/cpu/scoring/scores.h"

namespace tilewise::cpu {

// What every tile of a backward pass is told.
template <class T>
struct Known {
  const Problem& problem;
  const Kernels<T>& kernels;
  const RowSums<T>& sums;
};

// Where rows of query and of output gradient go as add_product takes them.
template <class T>
struct RowsTo {
  const RowList& list;
  Matrix<T> query, output;
};

// A group's rows of query and output gradient, in lanes and for add_product.
template <class T>
struct GroupRows {
  GroupRows() = default;
  GroupRows(const Problem& p, const Kernels<T>& kernels, Arena& arena)
      : group(p, kernels, arena),
        columns(core::round_up(p.shape.dim, kernels.lanes)),
        value_columns(core::round_up(p.shape.value_dim, kernels.lanes)) {
    query = arena.take<T>(kernels.pitch * columns);
    output = arena.take<T>(kernels.pitch * value_columns);
    max = arena.take<T>(kernels.pitch);
    share = arena.take<T>(kernels.pitch);
    delta = arena.take<T>(kernels.pitch);
  }

  void load(const Known<T>& known, const QueryTile& of, int64 first, const RowsTo<T>& to) {
    const Problem& p = known.problem;
    const Kernels<T>& kernels = known.kernels;
    const RowSums<T>& sums = known.sums;
    tile = of;
    group.place(p, kernels, tile, first);
    const int64 lanes = group.vectors * kernels.lanes;
    const int64 key_head = tile.first_head / p.shape.group();
    const auto both_ways = [&](const View& view, const View& scaling, int64 dim, Matrix<T> by_row,
                               int64 width, T* by_lane) {
      const Rows rows = to.list.of_lanes(p, view, {tile, first, group.count}, dim);
      const T factor = factor_of<T>(scaling, tile.b, key_head);
      // Rows on their way into lanes may take more room than they have in the end: groups are
      // loaded in their order.
      load_operand(kernels, rows, factor, by_row, kernels.pitch);
      kernels.to_lanes({by_row.data, by_row.pitch}, width, group.vectors, by_lane);
      if (kernels.pairs()) load_right(kernels, rows, factor, by_row, kernels.pitch);
    };
    both_ways(p.query, p.scaling.query, p.shape.dim, to.query, columns, query);
    both_ways(p.gradients.output, p.scaling.output_gradient, p.shape.value_dim, to.output,
              value_columns, output);
    const int64 row = sums.first(tile.b, tile.first_head) + tile.rows.begin + first;
    // Lanes without a row take part in products, with weights of 0: next to infinity all scores are
    // small.
    for (int64 lane = 0; lane < lanes; ++lane) {
      const bool held = lane < group.count;
      max[lane] = held ? sums.max[row + lane] : core::infinity<T>();
      share[lane] = held ? sums.share[row + lane] : T(0);
      delta[lane] = held ? sums.delta[row + lane] : T(0);
    }
  }

  QueryTile tile{};
  Group<T> group;
  int64 columns = 0, value_columns = 0;                  // in whole vectors
  T *query = nullptr, *output = nullptr;                 // [dim][lane]
  T *max = nullptr, *share = nullptr, *delta = nullptr;  // [lane]
};

// Where the numbers of one group and stretch of keys go, [key][lane] each.
template <class T>
struct GradientTile {
  T* weights;   // after dropout
  T* gradient;  // of the score that enters the softmax
  T* raw;       // of scale * q.k, before the softcap; without one it is `gradient`
};

// Keys and values of a stretch of keys, row by row.
template <class T>
struct KeyRows {
  KeysAt<T> keys;
  Matrix<const T> value;
};

template <class T>
void differentiate(const Known<T>& known, ScoreScratch<T>& scratch, const GroupRows<T>& rows,
                   const KeyRows<T>& columns, const GradientTile<T>& to) {
  const Kernels<T>& kernels = known.kernels;
  const Scorer<T> scorer(known.problem, kernels, scratch);
  const QueryTile& tile = rows.tile;
  const Range keys = columns.keys.columns;
  const ScoreTile<T> weights{to.weights, keys.size(), rows.group.vectors, columns.keys.ends};
  const T* unit = scorer.score(tile, rows.group, rows.query, columns.keys, to.weights);
  kernels.weigh({weights, rows.max, rows.share, unit});
  const T* keep = scorer.keep(tile, rows.group, keys);
  const ScoreTile<T> gradient{to.gradient, keys.size(), rows.group.vectors, columns.keys.ends};
  kernels.score({columns.value,
                 rows.output,
                 known.problem.shape.value_dim,
                 gradient,
                 scratch.largest,
                 core::largest<T>(),
                 {}});
  kernels.differentiate({weights, to.gradient, to.raw, keep, scratch.slant, rows.delta});
}

}  // namespace tilewise::cpu
