#include "cli/bounds.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tilewise/tilewise.h"

namespace tilewise::cli {
namespace {

using oracle::Tensor;

// All that one row of the score matrix adds to the bounds.
class RowBounds {
 public:
  RowBounds(const oracle::Attention& problem, const oracle::Result& result, const Tensor& arriving,
            const Precision& precision)
      : problem_(problem), result_(result), arriving_(arriving), precision_(precision) {
    const std::int64_t group = problem.heads() / problem.key.shape[1];
    const auto longest = static_cast<double>(std::max(problem.keys(), problem.queries() * group));
    sum_ = 4 * precision.arithmetic * std::sqrt(longest);
    product_ =
        (4 + 2 * std::sqrt(static_cast<double>(problem.query.shape[2]))) * precision.arithmetic;
    value_product_ =
        (4 + 2 * std::sqrt(static_cast<double>(problem.value.shape[2]))) * precision.arithmetic;
  }

  void add(std::int64_t head, std::int64_t query, Bounds& bounds) {
    head_ = head;
    query_ = query;
    read_scores();
    const double output_error = add_output(bounds);
    add_gradients(output_error, bounds);
  }

 private:
  void read_scores() {
    scores_.clear();
    mean_magnitude_ = 0;
    for (std::int64_t j = 0; j < problem_.keys(); ++j) {
      scores_.push_back(oracle::score(problem_, head_, query_, j));
      mean_magnitude_ += weight(j) * scores_.back().magnitude;
    }
  }

  // Returns what errors of the output add to delta, the row's sum of arriving * output.
  double add_output(Bounds& bounds) const {
    double total = 0;
    for (std::int64_t d = 0; d < problem_.value.shape[2]; ++d) {
      const double exact = result_.output.at(query_, head_, d);
      double products = 0, moved = 0, tiny = 1;
      for (std::int64_t j = 0; j < problem_.keys(); ++j) {
        const double element = value(j, d);
        products += weight(j) * std::abs(element);
        moved += weight(j) * score(j).magnitude * std::abs(element - exact);
        tiny += score(j).visible ? std::abs(element) : 0;
      }
      const double bound = (precision_.stored + sum_) * products + product_ * moved +
                           precision_.stored * std::abs(exact) + precision_.smallest * tiny;
      bounds.output.at(query_, head_, d) = bound;
      total += bound * std::abs(arriving_.at(query_, head_, d));
      total += value_product_ * std::abs(exact * arriving_.at(query_, head_, d));
    }
    const double lse = result_.lse.at(head_, query_);
    bounds.lse.at(head_, query_) =
        product_ * mean_magnitude_ + sum_ + 4 * precision_.arithmetic * std::abs(lse);
    return total;
  }

  void add_gradients(double delta_error, Bounds& bounds) const {
    double delta = 0;
    for (std::int64_t d = 0; d < problem_.value.shape[2]; ++d) {
      delta += arriving_.at(query_, head_, d) * result_.output.at(query_, head_, d);
    }
    for (std::int64_t j = 0; j < problem_.keys(); ++j) {
      if (score(j).visible) add_element(j, delta, delta_error, bounds);
    }
  }

  void add_element(std::int64_t j, double delta, double delta_error, Bounds& bounds) const {
    // How far off the probability is, relatively: through its score, and through the row's lse.
    const double off = product_ * (score(j).magnitude + mean_magnitude_) + sum_ +
                       4 * precision_.arithmetic * std::abs(result_.lse.at(head_, query_)) +
                       precision_.stored;
    const std::int64_t key_head = problem_.key_head(head_);
    double at_probability = 0, products = 0;
    for (std::int64_t d = 0; d < problem_.value.shape[2]; ++d) {
      const double term = arriving_.at(query_, head_, d) * value(j, d);
      at_probability += term;
      products += std::abs(term);
      bounds.value.at(j, key_head, d) += (weight(j) * (off + sum_) + precision_.smallest) *
                                         std::abs(arriving_.at(query_, head_, d));
    }
    const double at_score = weight(j) * std::abs(at_probability - delta);
    const double error = at_score * (off + sum_ + precision_.stored) +
                         weight(j) * (value_product_ * products + delta_error) +
                         precision_.smallest;
    const double factor = std::abs(score(j).derivative) * error;
    for (std::int64_t d = 0; d < problem_.query.shape[2]; ++d) {
      bounds.query.at(query_, head_, d) += factor * std::abs(problem_.key.at(j, key_head, d));
      bounds.key.at(j, key_head, d) += factor * std::abs(problem_.query.at(query_, head_, d));
    }
  }

  [[nodiscard]] const oracle::Score& score(std::int64_t j) const {
    return scores_[static_cast<std::size_t>(j)];
  }
  [[nodiscard]] double weight(std::int64_t j) const { return result_.weights.at(head_, query_, j); }
  [[nodiscard]] double value(std::int64_t j, std::int64_t d) const {
    return problem_.value.at(j, problem_.key_head(head_), d);
  }

  const oracle::Attention& problem_;
  const oracle::Result& result_;
  const Tensor& arriving_;
  const Precision& precision_;
  double sum_ = 0, product_ = 0, value_product_ = 0;  // relative errors of sums and products
  std::int64_t head_ = 0, query_ = 0;
  std::vector<oracle::Score> scores_;
  double mean_magnitude_ = 0;
};

void add_rounding(const Tensor& exact, const Precision& precision, Tensor& bound) {
  for (std::size_t i = 0; i < exact.values.size(); ++i) {
    bound.values[i] += precision.stored * std::abs(exact.values[i]) + precision.smallest;
  }
}

}  // namespace

Precision precision_of(std::int32_t dtype) {
  switch (dtype) {
    case TW_FLOAT64:
      return {0x1p-53, 0x1p-53, 1e-300};
    case TW_FLOAT16:
      return {0x1p-24, 0x1p-11, 0x1p-25};
    case TW_BFLOAT16:
      return {0x1p-24, 0x1p-8, 1e-38};
    default:
      return {0x1p-24, 0x1p-24, 1e-38};
  }
}

Bounds bounds_of(const oracle::Attention& problem, const oracle::Result& result,
                 const oracle::Gradients& gradients, const oracle::Tensor& arriving,
                 const Precision& precision) {
  Bounds bounds{Tensor(result.output.shape), Tensor(result.lse.shape),
                Tensor(gradients.query.shape), Tensor(gradients.key.shape),
                Tensor(gradients.value.shape)};
  RowBounds row(problem, result, arriving, precision);
  for (std::int64_t head = 0; head < problem.heads(); ++head) {
    for (std::int64_t query = 0; query < problem.queries(); ++query) row.add(head, query, bounds);
  }
  add_rounding(gradients.query, precision, bounds.query);
  add_rounding(gradients.key, precision, bounds.key);
  add_rounding(gradients.value, precision, bounds.value);
  return bounds;
}

}  // namespace tilewise::cli
