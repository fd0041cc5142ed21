// Softmax over the whole row at once, then its product with the values.
#include <algorithm>
#include <cmath>
#include <limits>

#include "oracle/attention.h"

namespace tilewise::oracle {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Row {
  std::vector<Score> scores;
  double largest = -kInfinity;  // over the visible keys; NaN when one of them is
  double peak = -kInfinity;     // the same with the sink
  double denominator = 0;       // sum of exp(score - peak), sink included
};

Row score_row(const Attention& problem, std::int64_t head, std::int64_t query) {
  Row row;
  bool has_nan = false;
  for (std::int64_t j = 0; j < problem.keys(); ++j) {
    row.scores.push_back(score(problem, head, query, j));
    const Score& latest = row.scores.back();
    if (!latest.visible) continue;
    has_nan = has_nan || std::isnan(latest.value);
    row.largest = std::max(row.largest, latest.value);
  }
  if (has_nan) row.largest = std::numeric_limits<double>::quiet_NaN();

  row.peak = row.largest;
  const double sink =
      problem.sinks.empty() ? -kInfinity : problem.sinks[static_cast<std::size_t>(head)];
  if (sink > row.peak) row.peak = sink;
  if (row.peak == -kInfinity) return row;
  row.denominator = std::exp(sink - row.peak);
  for (const Score& each : row.scores) {
    if (each.visible) row.denominator += std::exp(each.value - row.peak);
  }
  return row;
}

// The factor of a probability on its way to the output: 0 when dropped.
void finish_row(const Attention& problem, const Row& row, std::int64_t head, std::int64_t query,
                Result& result) {
  result.lse.at(head, query) =
      row.peak == -kInfinity ? -kInfinity : row.peak + std::log(row.denominator);
  for (std::int64_t j = 0; j < problem.keys(); ++j) {
    const Score& each = row.scores[static_cast<std::size_t>(j)];
    if (!each.visible) continue;
    const double weight = std::exp(each.value - row.peak) / row.denominator;
    const double factor = keep_factor(problem.dropout, head, query, j);
    const double probability = std::exp(each.value - row.largest);
    result.weights.at(head, query, j) = weight;
    result.probabilities.at(head, query, j) = factor == 0 ? -probability : probability;
    for (std::int64_t d = 0; d < problem.value.shape[2] && factor != 0; ++d) {
      result.output.at(query, head, d) +=
          weight * factor * problem.value.at(j, problem.key_head(head), d);
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
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t query = 0; query < queries; ++query) {
      finish_row(problem, score_row(problem, head, query), head, query, result);
    }
  }
  return result;
}

}  // namespace tilewise::oracle
