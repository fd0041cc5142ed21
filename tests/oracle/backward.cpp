// The gradients: dS = P * (dP - delta), delta = rowsum(dO * O) - dlse, and what follows from them.
#include <cmath>
#include <cstdlib>
#include <limits>

#include "oracle/attention.h"

namespace tilewise::oracle {
namespace {

struct Arriving {
  const Tensor& output;
  const Tensor& lse;
};

double row_delta(const Result& result, const Arriving& arriving, std::int64_t head,
                 std::int64_t query) {
  double delta = arriving.lse.absent() ? 0 : -arriving.lse.at(head, query);
  for (std::int64_t d = 0; d < result.output.shape[2]; ++d) {
    delta += arriving.output.at(query, head, d) * result.output.at(query, head, d);
  }
  return delta;
}

// The gradient that arrives at one probability, and the sum of its absolute terms.
struct AtProbability {
  double value = 0, magnitude = 0;
};

// Also adds what this element gives to the value's gradient.
AtProbability through_value(const Attention& problem, const Result& result, const Tensor& output,
                            const std::int64_t (&element)[3], Tensor& value_gradient) {
  const auto [head, query, key] = element;
  AtProbability sum;
  const double factor = keep_factor(problem.dropout, head, query, key);
  if (factor == 0) return sum;
  const std::int64_t key_head = problem.key_head(head);
  for (std::int64_t d = 0; d < problem.value.shape[2]; ++d) {
    const double arriving = factor * output.at(query, head, d);
    const double term = arriving * problem.value.at(key, key_head, d);
    sum.value += term;
    sum.magnitude += std::fabs(term);
    value_gradient.at(key, key_head, d) += result.weights.at(head, query, key) * arriving;
  }
  return sum;
}

void backward_row(const Attention& problem, const Result& result, const Arriving& arriving,
                  const std::int64_t (&row)[2], Gradients& gradients) {
  const auto [head, query] = row;
  const std::int64_t key_head = problem.key_head(head);
  const auto at_head = static_cast<std::size_t>(head);
  const double delta = row_delta(result, arriving, head, query);
  if (!problem.sinks.empty() && std::isfinite(problem.sinks[at_head])) {
    const double sink = std::exp(problem.sinks[at_head] - result.lse.at(head, query));
    gradients.sinks[at_head] -= sink * delta;
  }
  for (std::int64_t j = 0; j < problem.keys(); ++j) {
    const Score each = score(problem, head, query, j);
    if (!each.visible) continue;
    const AtProbability at_probability =
        through_value(problem, result, arriving.output, {head, query, j}, gradients.value);
    const double weight = result.weights.at(head, query, j);
    const double at_score = weight * (at_probability.value - delta);
    gradients.bias.at(head, query, j) = at_score;
    gradients.magnitude.at(head, query, j) = weight * (at_probability.magnitude + std::fabs(delta));
    if (!problem.slopes.empty()) {
      const auto distance = static_cast<double>(std::abs(query + diagonal(problem) - j));
      gradients.slopes[at_head] -= distance * at_score;
    }
    for (std::int64_t d = 0; d < problem.query.shape[2]; ++d) {
      const double at_product = at_score * each.derivative;
      gradients.query.at(query, head, d) += at_product * problem.key.at(j, key_head, d);
      gradients.key.at(j, key_head, d) += at_product * problem.query.at(query, head, d);
    }
  }
}

}  // namespace

Gradients backward(const Attention& problem, const Tensor& output, const Tensor& lse) {
  const std::int64_t queries = problem.queries(), heads = problem.heads();
  const auto count = static_cast<std::size_t>(heads);
  Gradients gradients{.query = Tensor(problem.query.shape),
                      .key = Tensor(problem.key.shape),
                      .value = Tensor(problem.value.shape),
                      .bias = Tensor({heads, queries, problem.keys()}),
                      .slopes = std::vector<double>(count),
                      .sinks = std::vector<double>(count),
                      .magnitude = Tensor({heads, queries, problem.keys()})};
  const Result result = forward(problem);
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t query = 0; query < queries; ++query) {
      backward_row(problem, result, {output, lse}, {head, query}, gradients);
    }
  }
  return gradients;
}

}  // namespace tilewise::oracle
