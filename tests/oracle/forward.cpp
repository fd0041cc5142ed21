// Softmax over the whole row at once, then its product with the values.
#include <algorithm>
#include <cmath>
#include <limits>

#include "oracle/attention.h"

namespace tilewise::oracle {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Row {
  const Score* scores = nullptr;
  double largest = -kInfinity;  // over the visible keys; NaN when one of them is
  double peak = -kInfinity;     // the same with the sink
  double denominator = 0;       // sum of exp(score - peak), sink included
};

Row sum_row(const Attention& problem, const Score* scores, std::int64_t head) {
  Row row{.scores = scores};
  bool has_nan = false;
  for (std::int64_t j = 0; j < problem.keys(); ++j) {
    if (!scores[j].visible) continue;
    has_nan = has_nan || std::isnan(scores[j].value);
    row.largest = std::max(row.largest, scores[j].value);
  }
  if (has_nan) row.largest = std::numeric_limits<double>::quiet_NaN();

  row.peak = row.largest;
  const double sink =
      problem.sinks.empty() ? -kInfinity : problem.sinks[static_cast<std::size_t>(head)];
  if (sink > row.peak) row.peak = sink;
  if (row.peak == -kInfinity) return row;
  row.denominator = std::exp(sink - row.peak);
  for (std::int64_t j = 0; j < problem.keys(); ++j) {
    if (scores[j].visible) row.denominator += std::exp(scores[j].value - row.peak);
  }
  return row;
}

// Writes the row's lse, weights, probabilities and output.
void finish_row(const Attention& problem, const Row& row, std::int64_t head, std::int64_t query,
                Result& result) {
  result.lse.at(head, query) =
      row.peak == -kInfinity ? -kInfinity : row.peak + std::log(row.denominator);
  double* output = result.output.row(query, head);
  for (std::int64_t j = 0; j < problem.keys(); ++j) {
    if (!row.scores[j].visible) continue;
    const double weight = std::exp(row.scores[j].value - row.peak) / row.denominator;
    const double factor = keep_factor(problem.dropout, head, query, j);
    const double probability = std::exp(row.scores[j].value - row.largest);
    result.weights.at(head, query, j) = weight;
    result.probabilities.at(head, query, j) = factor == 0 ? -probability : probability;
    if (factor == 0) continue;
    const double* value = problem.value.row(j, problem.key_head(head));
    for (std::int64_t d = 0; d < problem.value.shape[2]; ++d) {
      output[d] += weight * factor * value[d];
    }
  }
}

}  // namespace

Result forward(const Attention& problem) {
  const std::int64_t queries = problem.queries(), heads = problem.heads(), keys = problem.keys();
  Result result;
  result.output = Tensor({queries, heads, problem.value.shape[2]});
  result.lse = Tensor({heads, queries});
  result.probabilities = Tensor({heads, queries, keys});
  result.weights = Tensor({heads, queries, keys});
  result.scores.reserve(result.weights.values.size());
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t query = 0; query < queries; ++query) {
      for (std::int64_t j = 0; j < keys; ++j) {
        result.scores.push_back(score(problem, head, query, j));
      }
      const Row row = sum_row(problem, result.score_row(head, query), head);
      finish_row(problem, row, head, query, result);
    }
  }
  return result;
}

}  // namespace tilewise::oracle
