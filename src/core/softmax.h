// The running row. Scores arrive tile by tile in units of log2; the row remembers the largest one
// and the sum of 2^(score - largest). Rows form a monoid: `merge` joins what was seen apart, and a
// row that saw nothing is its identity.
#pragma once

#include "core/base.h"
#include "core/math.h"
#include "core/score.h"

namespace tilewise::core {

template <class T>
struct Row {
  T max = -infinity<T>();
  T sum = 0;
};

// What to subtract from scores before exp2. A row that saw nothing has no largest score;
// subtracting 0 makes its hidden scores (-inf) 2^-inf = 0 and not the NaN of -inf - -inf.
template <class T>
TW_HD T shift(T max) {
  return max == -infinity<T>() ? T(0) : max;
}

// A NaN wins: a row that met one is NaN for good.
template <class T>
TW_HD T running_max(T a, T b) {
  return (b > a || b != b) ? b : a;
}

// Takes in a tile's largest score. Returns the factor that shrinks what was accumulated before.
template <class T>
TW_HD T raise(Row<T>& row, T tile_max) {
  const T before = row.max;
  row.max = running_max(before, tile_max);
  const T factor = exp2(before - shift(row.max));
  row.sum *= factor;
  return factor;
}

template <class T>
TW_HD Row<T> merge(Row<T> a, Row<T> b) {
  const T max = running_max(a.max, b.max);
  return {max, a.sum * exp2(a.max - shift(max)) + b.sum * exp2(b.max - shift(max))};
}

// A score's weight: its share of the row's denominator.
template <class T>
TW_HD T weight_in(Row<T> row, T score) {
  return exp2(score - shift(row.max)) / row.sum;
}

// The natural logarithm of the row's denominator; -inf where nothing was seen.
template <class T>
TW_HD T lse(Row<T> row) {
  return (row.max + log2(row.sum)) * ln2<T>();
}

// A row with this lse whose sum is scaled to 1. to_log2 limits an lse that would overflow in units
// of log2, as it limits scores.
template <class T>
TW_HD Row<T> row_of(T lse) {
  if (lse == -infinity<T>()) return {};
  return {to_log2(lse), T(1)};
}

}  // namespace tilewise::core
