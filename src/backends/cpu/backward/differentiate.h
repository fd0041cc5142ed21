// The core of backward: for a bundle of queries and a range of keys, recomputes the weights and
// computes the scores' gradients.
#pragma once

#include "backends/cpu/backward/row_sums.h"
#include "backends/cpu/scoring/scores.h"

namespace tilewise::cpu {

// What all tiles of a backward pass share.
template <class T>
struct Known {
  const Problem& problem;
  const Kernels<T>& kernels;
  const RowSums<T>& sums;
};

// Where a bundle's rows of query and output gradient go in add_product's layout.
template <class T>
struct RowsTo {
  const RowList& list;
  Matrix<T> query, output;
};

// A bundle's rows of query and output gradient, in lanes, with each row's max, denominator and
// delta.
template <class T>
struct BundleRows {
  BundleRows() = default;
  BundleRows(const Problem& p, const Kernels<T>& kernels, Arena& arena)
      : bundle(p, kernels, arena),
        columns(core::round_up(p.shape.dim, kernels.lanes)),
        value_columns(core::round_up(p.shape.value_dim, kernels.lanes)) {
    query = arena.take<T>(kernels.pitch * columns);
    output = arena.take<T>(kernels.pitch * value_columns);
    max = arena.take<T>(kernels.pitch);
    inverse_sum = arena.take<T>(kernels.pitch);
    delta = arena.take<T>(kernels.pitch);
  }

  void load(const Known<T>& known, const QueryTile& of, int64 first, const RowsTo<T>& to) {
    const Problem& p = known.problem;
    const Kernels<T>& kernels = known.kernels;
    const RowSums<T>& sums = known.sums;
    tile = of;
    bundle.place(p, kernels, tile, first);
    const int64 lanes = bundle.vectors * kernels.lanes;
    const int64 key_head = tile.first_head / p.shape.group();
    const auto both_ways = [&](const View& view, const View& scaling, int64 dim, Matrix<T> by_row,
                               int64 width, T* by_lane) {
      const Rows rows = to.list.of_lanes(p, view, {tile, first, bundle.count}, dim);
      const T factor = factor_of<T>(scaling, tile.b, key_head);
      // load_operand writes kernels.pitch rows. With pairs they take twice the bundle's room, until
      // load_right packs them; so the caller must load bundles in order.
      load_operand(kernels, rows, factor, by_row, kernels.pitch);
      kernels.rows.to_lanes({by_row.data, by_row.pitch}, width, bundle.vectors, by_lane);
      if (kernels.pairs()) load_right(kernels, rows, factor, by_row, kernels.pitch);
    };
    both_ways(p.query, p.scaling.query, p.shape.dim, to.query, columns, query);
    both_ways(p.gradients.output, p.scaling.output_gradient, p.shape.value_dim, to.output,
              value_columns, output);
    const int64 row = sums.first(tile.b, tile.first_head) + tile.rows.begin + first;
    // Lanes without a row take part in products. Their max is infinity, so that their weights are
    // 0.
    for (int64 lane = 0; lane < lanes; ++lane) {
      const bool held = lane < bundle.count;
      max[lane] = held ? sums.max[row + lane] : core::infinity<T>();
      inverse_sum[lane] = held ? sums.inverse_sum[row + lane] : T(0);
      delta[lane] = held ? sums.delta[row + lane] : T(0);
    }
  }

  QueryTile tile{};
  Bundle<T> bundle;
  int64 columns = 0, value_columns = 0;                        // in whole vectors
  T *query = nullptr, *output = nullptr;                       // [dim][lane]
  T *max = nullptr, *inverse_sum = nullptr, *delta = nullptr;  // [lane]
};

// Where the results for one bundle and range of keys go, [key][lane] each.
template <class T>
struct GradientTile {
  T* weights;   // after dropout
  T* gradient;  // of the score that enters the softmax
  T* raw;       // of scale * q.k, before the softcap; without one it is `gradient`
};

// Rows of keys and of values of one range of keys.
template <class T>
struct KeyRows {
  KeysAt<T> keys;
  Matrix<const T> value;
};

template <class T>
void differentiate(const Known<T>& known, ScoreScratch<T>& scratch, const BundleRows<T>& rows,
                   const KeyRows<T>& columns, const GradientTile<T>& to) {
  const Kernels<T>& kernels = known.kernels;
  const Scorer<T> scorer(known.problem, kernels, scratch);
  const QueryTile& tile = rows.tile;
  const Range keys = columns.keys.columns;
  const ScoreTile<T> weights{to.weights, keys.size(), rows.bundle.vectors, columns.keys.ends};
  const T* unit = scorer.score(tile, rows.bundle, rows.query, columns.keys, to.weights);
  kernels.backward.weigh({weights, rows.max, rows.inverse_sum, unit});
  const T* keep = scorer.keep(tile, rows.bundle, keys);
  const ScoreTile<T> gradient{to.gradient, keys.size(), rows.bundle.vectors, columns.keys.ends};
  kernels.forward.score({columns.value,
                         rows.output,
                         known.problem.shape.value_dim,
                         gradient,
                         scratch.largest,
                         core::largest<T>(),
                         {}});
  kernels.backward.differentiate(
      {weights, to.gradient, to.raw, keep, scratch.softcap_derivative, rows.delta});
}

}  // namespace tilewise::cpu
