// |O - o| <= (u_P + 2^-22 sqrt N) sum p|v| + (4 + 2 sqrt D) 2^-24 sum p m |v - o| + u_O |o|
//            + f (1 + sum |v| / l), with m the magnitude of a score, and likewise for lse.
#include "conformance/bound.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "conformance/number.h"

namespace tilewise::conformance {
namespace {

double floor_of(tw_dtype dtype) {
  switch (dtype) {
    case TW_FLOAT16:
      return 0x1p-25;
    case TW_FLOAT8_E4M3:
      return 0x1p-10;
    case TW_FLOAT8_E5M2:
      return 0x1p-17;
    default:
      return 1e-38;
  }
}

struct Key {
  std::int64_t index = 0;
  double weight = 0, factor = 0, magnitude = 0;
};

// One column of the values that a head reads.
struct Place {
  std::int64_t key_head = 0, column = 0;
};

// What the bounds of one row have in common.
struct Row {
  std::vector<Key> keys;  // the visible ones
  double sink_weight = 0, sink = 0;
  double sum = 0;         // l: of exp(score - max)
  double score_term = 0;  // (4 + 2 sqrt D) 2^-24
  double sum_term = 0;    // 2^-22 sqrt N
};

Row make_row(const oracle::Attention& problem, const oracle::Result& result, std::int64_t head,
             std::int64_t query) {
  Row row;
  for (std::int64_t j = 0; j < problem.keys(); ++j) {
    const oracle::Score score = oracle::score(problem, head, query, j);
    if (!score.visible) continue;
    row.keys.push_back({j, result.weights.at(head, query, j),
                        oracle::keep_factor(problem.dropout, head, query, j), score.magnitude});
    row.sum += std::fabs(result.probabilities.at(head, query, j));
  }
  if (!problem.sinks.empty()) {
    row.sink = std::fabs(problem.sinks[static_cast<std::size_t>(head)]);
    row.sink_weight =
        std::exp(problem.sinks[static_cast<std::size_t>(head)] - result.lse.at(head, query));
  }
  const auto dim = static_cast<double>(problem.query.shape[2]);
  row.score_term = (4 + 2 * std::sqrt(dim)) * 0x1p-24;
  row.sum_term = 0x1p-22 * std::sqrt(static_cast<double>(row.keys.size()));
  return row;
}

double output_bound(const Row& row, const oracle::Tensor& value, const Place& place, double output,
                    const Precision& precision) {
  double weighted = 0, conditioned = row.sink_weight * row.sink * std::fabs(output), plain = 0;
  for (const Key& key : row.keys) {
    const double v = key.factor * value.at(key.index, place.key_head, place.column);
    weighted += key.weight * std::fabs(v);
    conditioned += key.weight * key.magnitude * std::fabs(v - output);
    plain += std::fabs(v);
  }
  return (precision.probability + row.sum_term) * weighted + row.score_term * conditioned +
         precision.output * std::fabs(output) + precision.floor * (1 + plain / row.sum);
}

double lse_bound(const Row& row, double lse) {
  double conditioned = row.sink_weight * row.sink;
  for (const Key& key : row.keys) conditioned += key.weight * key.magnitude;
  return row.score_term * conditioned + row.sum_term + 0x1p-22 * std::fabs(lse);
}

}  // namespace

Precision precision_of(tw_dtype input, tw_dtype output) {
  const double floor = input == TW_FLOAT16 ? floor_of(input) : 0;
  return {unit_roundoff(input), unit_roundoff(output), std::max(floor, floor_of(output))};
}

Bound bound_of(const oracle::Attention& problem, const oracle::Result& result,
               const Precision& precision) {
  Bound bound{oracle::Tensor(result.output.shape), oracle::Tensor(result.lse.shape)};
  for (std::int64_t h = 0; h < problem.heads(); ++h) {
    for (std::int64_t i = 0; i < problem.queries(); ++i) {
      const Row row = make_row(problem, result, h, i);
      const double lse = result.lse.at(h, i);
      if (std::isfinite(lse)) bound.lse.at(h, i) = lse_bound(row, lse);
      if (row.keys.empty()) continue;  // its zeros are exact
      for (std::int64_t d = 0; d < result.output.shape[2]; ++d) {
        const Place place{problem.key_head(h), d};
        bound.output.at(i, h, d) =
            output_bound(row, problem.value, place, result.output.at(i, h, d), precision);
      }
    }
  }
  return bound;
}

}  // namespace tilewise::conformance
