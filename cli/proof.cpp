#include "cli/proof.h"

#include <cmath>
#include <limits>

#include "cli/bounds.h"
#include "cli/element.h"

namespace tilewise::cli {
namespace {

using oracle::Tensor;

// Rows first .. first + rows of a (1, length, heads, dim) tensor.
Tensor take_rows(const tw_tensor& tensor, const RowBand& band) {
  Tensor rows({band.rows, tensor.shape[2], tensor.shape[3]});
  const std::int64_t start = band.first * tensor.stride[1];
  for (std::size_t i = 0; i < rows.values.size(); ++i) {
    rows.values[i] = load_element(tensor.dtype, tensor.data, start + static_cast<std::int64_t>(i));
  }
  return rows;
}

oracle::Attention take_problem(const Call& call, const RowBand& band) {
  const RowBand seen{0, band.first + band.rows};
  oracle::Attention problem;
  problem.query = take_rows(call.request.query, band);
  problem.key = take_rows(call.request.key, seen);
  problem.value = take_rows(call.request.value, seen);
  problem.band.right = 0;
  return problem;
}

class Comparison {
 public:
  Comparison(std::string name, double allowed) {
    agreement_.name = std::move(name);
    agreement_.allowed = allowed;
  }

  void add(double got, double exact, double bound) {
    const double error = std::abs(got - exact);
    const double ratio = error / bound;
    // What is not a number compares with nothing, and must not pass for that.
    agreement_.worst = std::isnan(ratio) ? std::numeric_limits<double>::infinity()
                                         : std::max(agreement_.worst, ratio);
    error_squares_ += error * error;
    exact_squares_ += exact * exact;
    ++agreement_.elements;
  }

  // `from` is the first of the exact tensor's rows that is compared; it is row `first` of the call.
  void add_rows(const tw_tensor& got, std::int64_t first, std::int64_t from, const Tensor& exact,
                const Tensor& bound) {
    const std::int64_t width = got.stride[1];
    const std::int64_t rows = exact.shape[0] - from;
    for (std::int64_t i = 0; i < rows * width; ++i) {
      const auto at = static_cast<std::size_t>(from * width + i);
      add(load_element(got.dtype, got.data, first * width + i), exact.values[at], bound.values[at]);
    }
  }

  [[nodiscard]] Agreement agreement() const {
    Agreement result = agreement_;
    result.relative =
        exact_squares_ > 0 ? std::sqrt(error_squares_ / exact_squares_) : std::sqrt(error_squares_);
    return result;
  }

 private:
  Agreement agreement_;
  double error_squares_ = 0, exact_squares_ = 0;
};

struct Comparisons {
  explicit Comparisons(double allowed)
      : output("output", allowed),
        lse("lse", allowed),
        query("query gradient", allowed),
        key("key gradient", allowed),
        value("value gradient", allowed) {}

  Comparison output, lse, query, key, value;
};

// Full-precision results drift by the length of their sums; short types only by how they are
// stored.
double allowed_relative(const Precision& precision) {
  return (precision.stored > precision.arithmetic ? 4 : 32) * precision.stored;
}

void prove_band(const Call& call, const RowBand& band, Comparisons& comparisons) {
  const oracle::Attention problem = take_problem(call, band);
  const Tensor arriving = take_rows(call.gradients.output, band);
  const oracle::Result result = oracle::forward(problem);
  const oracle::Gradients exact = oracle::backward(problem, arriving, {});
  const Bounds bounds =
      bounds_of(problem, result, exact, arriving, precision_of(call.request.query.dtype));

  comparisons.output.add_rows(call.request.output, band.first, 0, result.output, bounds.output);
  const tw_tensor& lse = call.request.lse;
  for (std::int64_t head = 0; head < problem.heads(); ++head) {
    for (std::int64_t row = 0; row < band.rows; ++row) {
      const std::int64_t at = head * lse.stride[1] + band.first + row;
      comparisons.lse.add(load_element(lse.dtype, lse.data, at), result.lse.at(head, row),
                          bounds.lse.at(head, row));
    }
  }
  const tw_gradients& got = call.gradients;
  comparisons.query.add_rows(got.query, band.first, 0, exact.query, bounds.query);
  if (band.first + band.rows < call.request.key.shape[1]) return;
  comparisons.key.add_rows(got.key, band.first, band.first, exact.key, bounds.key);
  comparisons.value.add_rows(got.value, band.first, band.first, exact.value, bounds.value);
}

}  // namespace

bool is_exact(const Agreement& agreement) {
  return agreement.elements > 0 && agreement.worst <= 1 && agreement.relative <= agreement.allowed;
}

std::vector<Agreement> prove(const Call& call, const std::vector<RowBand>& bands) {
  Comparisons comparisons(allowed_relative(precision_of(call.request.query.dtype)));
  for (const RowBand& band : bands) prove_band(call, band, comparisons);
  return {comparisons.output.agreement(), comparisons.lse.agreement(),
          comparisons.query.agreement(), comparisons.key.agreement(),
          comparisons.value.agreement()};
}

}  // namespace tilewise::cli
