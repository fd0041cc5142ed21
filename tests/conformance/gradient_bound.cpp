// Bounds of gradients, row by row: delta's error, then each score's gradient, then the products.
#include "conformance/gradient_bound.h"

#include <cstdlib>

namespace tilewise::conformance {
namespace {

using oracle::Tensor;

// An ErrorSum for each element of a tensor.
class ErrorTensor {
 public:
  explicit ErrorTensor(const Tensor& like) : shape_(like), sums_(like.values.size()) {}

  ErrorSum* row(std::int64_t i, std::int64_t h) {
    return sums_.data() + (shape_.row(i, h) - shape_.values.data());
  }

  [[nodiscard]] Tensor bound(const Precision& precision) const {
    Tensor result(shape_.shape);
    for (std::size_t n = 0; n < sums_.size(); ++n) result.values[n] = sums_[n].bound(precision);
    return result;
  }

 private:
  const Tensor& shape_;
  std::vector<ErrorSum> sums_;
};

// The gradient of one probability, and the sum of its terms' absolute values.
struct AtProbability {
  double value = 0, magnitude = 0;
};

class Bounder {
 public:
  Bounder(const oracle::Attention& problem, const oracle::Result& result,
          const oracle::Gradients& gradients, const oracle::Arriving& arriving,
          const Precision& precision)
      : problem_(problem),
        result_(result),
        arriving_(arriving),
        precision_(precision),
        query_(gradients.query),
        key_(gradients.key),
        value_(gradients.value),
        score_product_(precision.product(problem.query.shape[2])),
        value_product_(precision.product(problem.value.shape[2])),
        slopes_(static_cast<std::size_t>(problem.heads())),
        sinks_(slopes_),
        score_(gradients.bias.shape) {}

  void add_row(std::int64_t head, std::int64_t query) {
    const SeenRow row(problem_, result_, head, query);
    head_ = head;
    query_index_ = query;
    if (!std::isfinite(row.lse)) return;  // it saw nothing, not even a sink: exact zeros
    find_probabilities(row);
    find_delta(row);
    const double lse_error = row.lse_bound(precision_);
    if (row.sink_weight > 0) {
      const double off = std::expm1(4 * precision_.arithmetic * row.sink + lse_error);
      sinks_[static_cast<std::size_t>(head)].add(
          row.sink_weight * (off * std::fabs(delta_) + delta_error_), row.sink_weight * delta_);
    }
    for (std::size_t n = 0; n < row.keys.size(); ++n) {
      const double weight_error = std::expm1(score_product_ * row.keys[n].magnitude + lse_error);
      add_key(row.keys[n], at_probability_[n], weight_error);
    }
  }

  [[nodiscard]] GradientBound finish() const {
    return {query_.bound(precision_),
            key_.bound(precision_),
            value_.bound(precision_),
            score_,
            slopes_,
            sinks_};
  }

 private:
  void find_probabilities(const SeenRow& row) {
    at_probability_.clear();
    const double* arriving = arriving_.output.row(query_index_, head_);
    for (const SeenKey& key : row.keys) {
      const double* value = problem_.value.row(key.index, problem_.key_head(head_));
      AtProbability sum;
      for (std::int64_t d = 0; d < problem_.value.shape[2] && key.factor != 0; ++d) {
        const double term = key.factor * arriving[d] * value[d];
        sum.value += term;
        sum.magnitude += std::fabs(term);
      }
      at_probability_.push_back(sum);
    }
  }

  // Delta is the sum of dO * O over the columns, less dlse. A wrong score moves all columns of O at
  // once, so `conditioned` bounds what it does to the sum: at most what the columns' own bounds add
  // up to.
  void find_delta(const SeenRow& row) {
    const double* arriving = arriving_.output.row(query_index_, head_);
    const double* output = result_.output.row(query_index_, head_);
    double sum = 0, magnitude = 0, arriving_magnitude = 0;
    for (std::int64_t d = 0; d < problem_.value.shape[2]; ++d) {
      sum += arriving[d] * output[d];
      magnitude += std::fabs(arriving[d] * output[d]);
      arriving_magnitude += std::fabs(arriving[d]);
    }
    const double through_lse = arriving_.lse.absent() ? 0 : arriving_.lse.at(head_, query_index_);
    delta_ = sum - through_lse;

    double conditioned = row.sink_weight * row.sink * std::fabs(sum), weighted = 0, plain = 0;
    for (std::size_t n = 0; n < row.keys.size(); ++n) {
      const SeenKey& key = row.keys[n];
      conditioned += key.weight * key.magnitude * std::fabs(at_probability_[n].value - sum);
      weighted += key.weight * at_probability_[n].magnitude;
      plain += at_probability_[n].magnitude;
    }
    const auto count = static_cast<std::int64_t>(row.keys.size());
    delta_error_ =
        score_product_ * conditioned + (precision_.probability + precision_.sum(count)) * weighted +
        (precision_.output + value_product_) * magnitude +
        2 * precision_.arithmetic * std::fabs(through_lse) + precision_.floor * arriving_magnitude;
    if (count > 0) delta_error_ += precision_.weight_floor * plain / row.sum;
  }

  void add_key(const SeenKey& key, const AtProbability& at, double weight_error) {
    const std::int64_t key_head = problem_.key_head(head_);
    const oracle::Score& score = result_.score_row(head_, query_index_)[key.index];
    const double u = precision_.arithmetic;
    const double at_score = key.weight * (at.value - delta_);
    const double bias_error =
        key.weight * (weight_error * std::fabs(at.value - delta_) + value_product_ * at.magnitude +
                      delta_error_ + 2 * u * (std::fabs(at.value) + std::fabs(delta_))) +
        2 * u * std::fabs(at_score);
    score_.at(head_, query_index_, key.index) = bias_error;
    // For other gradients a weight may be flushed to 0 below the normal numbers.
    const double error = bias_error + precision_.term_floor * std::fabs(at.value - delta_);
    add_slope(key.index, error, at_score);
    add_value(key, key_head, weight_error);

    // `product` is the gradient of query * key. A kernel rounds it to the weights' type. If both of
    // its factors, at_score and the score's derivative, are 0, the product of their errors is left.
    const double product = at_score * score.derivative;
    const double product_error =
        std::fabs(score.derivative) * error + (std::fabs(at_score) + error) * slope_error(score) +
        precision_.probability * std::fabs(product) + precision_.weight_floor * std::fabs(scale());
    const double* query_row = problem_.query.row(query_index_, head_);
    const double* key_row = problem_.key.row(key.index, key_head);
    ErrorSum* at_query = query_.row(query_index_, head_);
    ErrorSum* at_key = key_.row(key.index, key_head);
    for (std::int64_t d = 0; d < problem_.query.shape[2]; ++d) {
      at_query[d].add(product_error * std::fabs(key_row[d]), product * key_row[d]);
      at_key[d].add(product_error * std::fabs(query_row[d]), product * query_row[d]);
    }
  }

  void add_slope(std::int64_t key, double error, double at_score) {
    const auto distance =
        static_cast<double>(std::abs(query_index_ + oracle::diagonal(problem_) - key));
    slopes_[static_cast<std::size_t>(head_)].add(distance * error, distance * at_score);
  }

  void add_value(const SeenKey& key, std::int64_t key_head, double weight_error) {
    if (key.factor == 0) return;
    const double* arriving = arriving_.output.row(query_index_, head_);
    ErrorSum* to = value_.row(key.index, key_head);
    const double weight = key.weight * key.factor;
    const double error =
        weight * (weight_error + precision_.probability + 2 * precision_.arithmetic) +
        precision_.weight_floor * key.factor;
    for (std::int64_t d = 0; d < problem_.value.shape[2]; ++d) {
      to[d].add(error * std::fabs(arriving[d]), weight * arriving[d]);
    }
  }

  // The error of softcap's derivative 1 - tanh^2, whose argument is as exact as the score.
  [[nodiscard]] double slope_error(const oracle::Score& score) const {
    if (problem_.softcap == 0 || scale() == 0) return 0;
    const double slope = score.derivative / scale();
    const double argument_error = score_product_ * score.magnitude / problem_.softcap;
    const double bent = std::sqrt(std::fabs(1 - slope));
    return std::fabs(scale()) * (2 * bent * (slope * argument_error + 4 * precision_.arithmetic) +
                                 argument_error * argument_error + 4 * precision_.arithmetic);
  }

  [[nodiscard]] double scale() const {
    return problem_.scale.value_or(1 / std::sqrt(static_cast<double>(problem_.query.shape[2])));
  }

  const oracle::Attention& problem_;
  const oracle::Result& result_;
  const oracle::Arriving& arriving_;
  const Precision& precision_;
  ErrorTensor query_, key_, value_;
  double score_product_, value_product_;
  std::vector<ErrorSum> slopes_, sinks_;
  Tensor score_;

  std::int64_t head_ = 0, query_index_ = 0;  // the row at hand
  std::vector<AtProbability> at_probability_;
  double delta_ = 0, delta_error_ = 0;
};

}  // namespace

GradientBound bound_gradients(const oracle::Attention& problem, const oracle::Result& result,
                              const oracle::Gradients& gradients, const oracle::Arriving& arriving,
                              const Precision& precision) {
  Bounder bounder(problem, result, gradients, arriving, precision);
  for (std::int64_t head = 0; head < problem.heads(); ++head) {
    for (std::int64_t query = 0; query < problem.queries(); ++query) bounder.add_row(head, query);
  }
  return bounder.finish();
}

}  // namespace tilewise::conformance
