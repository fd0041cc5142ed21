// The bounds of docs/numerics.md, which defines the symbols. An output element may be off by
//     (u_P + 4 u sqrt N) sum p |v|
//     + (4 + 2 sqrt D) u (sum p m |v - o| + the sink's term)
//     + f_P sum |v| / l
// before it is stored. u is the unit roundoff of the arithmetic, and m the magnitude of a score.
#include "conformance/bound.h"

#include <algorithm>

#include "conformance/number.h"

namespace tilewise::conformance {
namespace {

// The factor that a kernel gives weights of 8 bits, so that the largest is near the type's end.
double weight_scale(tw_dtype dtype) {
  return dtype == TW_FLOAT8_E4M3 ? 0x1p8 : dtype == TW_FLOAT8_E5M2 ? 0x1p15 : 1;
}

// One column of the values that a head reads.
struct Column {
  std::int64_t key_head = 0, column = 0;
};

double output_bound(const SeenRow& row, const oracle::Tensor& value, const Column& place,
                    double output, const Precision& precision) {
  double weighted = 0, plain = 0;
  double conditioned = row.sink_weight * row.sink * std::fabs(output);
  for (const SeenKey& key : row.keys) {
    const double v = key.factor * value.at(key.index, place.key_head, place.column);
    weighted += key.weight * std::fabs(v);
    conditioned += key.weight * key.magnitude * std::fabs(v - output);
    plain += std::fabs(v);
  }
  const auto count = static_cast<std::int64_t>(row.keys.size());
  return (precision.probability + precision.sum(count)) * weighted +
         precision.product(row.dim) * conditioned + precision.weight_floor * plain / row.sum;
}

// The bound of a probability: both its score and the row's largest score are off.
double probability_bound(const SeenRow& row, const SeenKey& key, double probability,
                         const Precision& precision) {
  const double off = precision.product(row.dim) * (key.magnitude + row.largest);
  return std::fabs(probability) * (std::expm1(off) + 4 * precision.arithmetic);
}

}  // namespace

Precision precision_of(tw_dtype input, tw_dtype output) {
  Precision precision;
  // The oracle computes in float64, so for float64 its own errors are as large as the kernel's.
  precision.arithmetic = input == TW_FLOAT64 ? 0x1p-52 : 0x1p-24;
  precision.probability = unit_roundoff(input);
  precision.output = unit_roundoff(output);
  precision.weight_floor = floor_of(input) / weight_scale(input);
  precision.floor = floor_of(output);
  precision.term_floor = floor_of(input == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32);
  return precision;
}

SeenRow::SeenRow(const oracle::Attention& problem, const oracle::Result& result, std::int64_t head,
                 std::int64_t query)
    : lse(result.lse.at(head, query)), dim(problem.query.shape[2]) {
  const oracle::Score* scores = result.score_row(head, query);
  for (std::int64_t j = 0; j < problem.keys(); ++j) {
    if (!scores[j].visible) continue;
    keys.push_back({j, result.weights.at(head, query, j),
                    oracle::keep_factor(problem.dropout, head, query, j), scores[j].magnitude});
    sum += std::fabs(result.probabilities.at(head, query, j));
    largest = std::max(largest, scores[j].magnitude);
  }
  if (problem.sinks.empty() || !std::isfinite(lse)) return;
  sink = std::fabs(problem.sinks[static_cast<std::size_t>(head)]);
  sink_weight = std::exp(problem.sinks[static_cast<std::size_t>(head)] - lse);
}

double SeenRow::lse_bound(const Precision& precision) const {
  double conditioned = sink_weight * sink;
  for (const SeenKey& key : keys) conditioned += key.weight * key.magnitude;
  return precision.product(dim) * conditioned +
         precision.sum(static_cast<std::int64_t>(keys.size())) +
         4 * precision.arithmetic * std::fabs(lse);
}

ForwardBound bound_forward(const oracle::Attention& problem, const oracle::Result& result,
                           const Precision& precision) {
  ForwardBound bound{oracle::Tensor(result.output.shape), oracle::Tensor(result.lse.shape),
                     oracle::Tensor(result.probabilities.shape)};
  for (std::int64_t h = 0; h < problem.heads(); ++h) {
    for (std::int64_t i = 0; i < problem.queries(); ++i) {
      const SeenRow row(problem, result, h, i);
      if (std::isfinite(row.lse)) bound.lse.at(h, i) = row.lse_bound(precision);
      if (row.keys.empty()) continue;  // its zeros are exact
      for (const SeenKey& key : row.keys) {
        bound.probabilities.at(h, i, key.index) =
            probability_bound(row, key, result.probabilities.at(h, i, key.index), precision);
      }
      for (std::int64_t d = 0; d < result.output.shape[2]; ++d) {
        bound.output.at(i, h, d) = output_bound(row, problem.value, {problem.key_head(h), d},
                                                result.output.at(i, h, d), precision);
      }
    }
  }
  return bound;
}

}  // namespace tilewise::conformance
