// The gradients: dS = P * (dP - delta), delta = rowsum(dO * O) - dlse, and what follows from them.
#include <cmath>
#include <cstdlib>
#include <limits>

#include "oracle/attention.h"

namespace tilewise::oracle {
namespace {

double row_delta(const Result& result, const Arriving& arriving, std::int64_t head,
                 std::int64_t query) {
  double delta = arriving.lse.absent() ? 0 : -arriving.lse.at(head, query);
  for (std::int64_t d = 0; d < result.output.shape[2]; ++d) {
    delta += arriving.output.at(query, head, d) * result.output.at(query, head, d);
  }
  return delta;
}

// The gradient that arrives at one probability. Also adds what this element gives to the value's
// gradient.
double through_value(const Attention& problem, const Result& result, const Tensor& output,
                     const std::int64_t (&element)[3], Tensor& value_gradient) {
  const auto [head, query, key] = element;
  const double factor = keep_factor(problem.dropout, head, query, key);
  if (factor == 0) return 0;
  const double weight = result.weights.at(head, query, key);
  const double* arriving = output.row(query, head);
  const double* value = problem.value.row(key, problem.key_head(head));
  double* gradient = value_gradient.row(key, problem.key_head(head));
  double sum = 0;
  for (std::int64_t d = 0; d < problem.value.shape[2]; ++d) {
    sum += factor * arriving[d] * value[d];
    gradient[d] += weight * factor * arriving[d];
  }
  return sum;
}

void backward_row(const Attention& problem, const Result& result, const Arriving& arriving,
                  const std::int64_t (&row)[2], Gradients& gradients) {
  const auto [head, query] = row;
  const auto at_head = static_cast<std::size_t>(head);
  const double delta = row_delta(result, arriving, head, query);
  if (!problem.sinks.empty() && std::isfinite(problem.sinks[at_head])) {
    const double sink = std::exp(problem.sinks[at_head] - result.lse.at(head, query));
    gradients.sinks[at_head] -= sink * delta;
  }
  const std::int64_t key_head = problem.key_head(head);
  const Score* scores = result.score_row(head, query);
  const double* query_row = problem.query.row(query, head);
  double* query_gradient = gradients.query.row(query, head);
  for (std::int64_t j = 0; j < problem.keys(); ++j) {
    if (!scores[j].visible) continue;
    const double at_probability =
        through_value(problem, result, arriving.output, {head, query, j}, gradients.value);
    const double at_score = result.weights.at(head, query, j) * (at_probability - delta);
    gradients.bias.at(head, query, j) = at_score;
    if (!problem.slopes.empty()) {
      const auto distance = static_cast<double>(std::abs(query + diagonal(problem) - j));
      gradients.slopes[at_head] -= distance * at_score;
    }
    const double at_product = at_score * scores[j].derivative;
    const double* key_row = problem.key.row(j, key_head);
    double* key_gradient = gradients.key.row(j, key_head);
    for (std::int64_t d = 0; d < problem.query.shape[2]; ++d) {
      query_gradient[d] += at_product * key_row[d];
      key_gradient[d] += at_product * query_row[d];
    }
  }
}

}  // namespace

Gradients backward(const Attention& problem, const Result& result, const Arriving& arriving) {
  const std::int64_t queries = problem.queries(), heads = problem.heads();
  const auto count = static_cast<std::size_t>(heads);
  Gradients gradients{.query = Tensor(problem.query.shape),
                      .key = Tensor(problem.key.shape),
                      .value = Tensor(problem.value.shape),
                      .bias = Tensor({heads, queries, problem.keys()}),
                      .slopes = std::vector<double>(count),
                      .sinks = std::vector<double>(count)};
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t query = 0; query < queries; ++query) {
      backward_row(problem, result, arriving, {head, query}, gradients);
    }
  }
  return gradients;
}

}  // namespace tilewise::oracle
