// Who sees whom, and what one score is.
#include <cmath>
#include <limits>

#include "oracle/attention.h"

namespace tilewise::oracle {
namespace {

std::int64_t floor_divide(std::int64_t numerator, std::int64_t denominator) {
  const std::int64_t quotient = numerator / denominator;
  return numerator % denominator < 0 ? quotient - 1 : quotient;
}

bool in_band(const Band& band, std::int64_t centre, std::int64_t key) {
  const std::int64_t distance = key - centre;
  if (band.left && distance < -*band.left) return false;
  if (band.right && distance > *band.right) return false;
  return band.chunk == 0 || floor_divide(key, band.chunk) == floor_divide(centre, band.chunk);
}

}  // namespace

std::int64_t diagonal(const Attention& problem) {
  switch (problem.band.diagonal) {
    case Diagonal::kTopLeft:
      return 0;
    case Diagonal::kShifted:
      return problem.band.shift;
    default:
      return problem.keys() - problem.queries();
  }
}

bool is_visible(const Attention& problem, std::int64_t head, std::int64_t query, std::int64_t key) {
  if (!in_band(problem.band, query + diagonal(problem), key)) return false;
  const Hidden& hidden = problem.hidden;
  if (!hidden.visible.absent() && hidden.visible.broadcast(head, query, key) == 0) return false;
  if (!hidden.blocks.absent()) {
    const std::int64_t block_head = hidden.blocks.shape[0] == 1 ? 0 : head;
    if (hidden.blocks.at(block_head, query / hidden.block_query, key / hidden.block_key) == 0) {
      return false;
    }
  }
  return problem.bias.absent() ||
         problem.bias.broadcast(head, query, key) != -std::numeric_limits<double>::infinity();
}

Score score(const Attention& problem, std::int64_t head, std::int64_t query, std::int64_t key) {
  Score result;
  result.visible = is_visible(problem, head, query, key);
  if (!result.visible) return result;

  const std::int64_t dim = problem.query.shape[2];
  const double scale = problem.scale.value_or(1.0 / std::sqrt(static_cast<double>(dim)));
  const double* query_row = problem.query.row(query, head);
  const double* key_row = problem.key.row(key, problem.key_head(head));
  double product = 0, absolute = 0;
  for (std::int64_t d = 0; d < dim; ++d) {
    const double term = query_row[d] * key_row[d];
    product += term;
    absolute += std::fabs(term);
  }
  result.value = scale * product;
  result.magnitude = std::fabs(scale) * absolute;
  result.derivative = scale;

  if (problem.softcap != 0) {
    const double bent = std::tanh(result.value / problem.softcap);
    result.value = problem.softcap * bent;
    result.derivative *= 1 - bent * bent;
  }
  if (!problem.slopes.empty()) {
    const auto distance = static_cast<double>(std::abs(query + diagonal(problem) - key));
    const double alibi = -problem.slopes[static_cast<std::size_t>(head)] * distance;
    result.value += alibi;
    result.magnitude += std::fabs(alibi);
  }
  if (!problem.bias.absent()) {
    const double bias = problem.bias.broadcast(head, query, key);
    // A finite bias never hides a key, not even when adding it overflows.
    result.value = std::isinf(result.value + bias) && std::isfinite(result.value)
                       ? std::copysign(std::numeric_limits<double>::max(), bias)
                       : result.value + bias;
    result.magnitude += std::fabs(bias);
  }
  return result;
}

}  // namespace tilewise::oracle
