#include "cli/proof.h"

#include <cmath>
#include <functional>
#include <future>

#include "cli/core/element.h"
#include "conformance/gradient_bound.h"
#include "conformance/number.h"
#include "conformance/report.h"

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

using conformance::Part;
using conformance::Report;

double unit_of(std::int32_t dtype) {
  return conformance::unit_roundoff(static_cast<tw_dtype>(dtype));
}

// One element of a result, at `index` from the tensor's first.
struct Element {
  Part part;
  const tw_tensor& tensor;
  std::int64_t index;

  void compare(double want, double allowed, Report& report) const {
    const double got = load_element(tensor.dtype, tensor.data, index);
    const double rounding = conformance::rounding_of(static_cast<tw_dtype>(tensor.dtype), want);
    report.add(part, {index}, {got, want, allowed, rounding});
  }
};

// The oracle's results for the rows of a band, and their bounds.
struct Wanted {
  const Tensor &exact, &bound;
};

// The rows that are compared: `from` in the oracle's results, which is row `first` of the call.
struct Window {
  std::int64_t first = 0, from = 0;
};

void compare_rows(Part part, const tw_tensor& got, const Window& window, const Wanted& wanted,
                  Report& report) {
  const std::int64_t width = got.stride[1];
  const std::int64_t rows = wanted.exact.shape[0] - window.from;
  for (std::int64_t i = 0; i < rows * width; ++i) {
    const auto at = static_cast<std::size_t>(window.from * width + i);
    const Element element{part, got, window.first * width + i};
    element.compare(wanted.exact.values[at], wanted.bound.values[at], report);
  }
}

// The largest ||error|| / ||exact|| allowed. Errors of float32 and float64 grow with the length of
// the sums; in shorter types the error is mostly the rounding of the stored result.
double allowed_relative(std::int32_t dtype) {
  return (tw_dtype_bytes(dtype) < 4 ? 4 : 32) * unit_of(dtype);
}

Report prove_band(const Call& call, const RowBand& band) {
  Report report;
  const oracle::Attention problem = take_problem(call, band);
  const oracle::Arriving arriving{take_rows(call.gradients.output, band), {}};
  const oracle::Result result = oracle::forward(problem);
  const oracle::Gradients exact = oracle::backward(problem, result, arriving);
  const auto dtype = static_cast<tw_dtype>(call.request.query.dtype);
  const conformance::Precision precision = conformance::precision_of(dtype, dtype);
  const conformance::ForwardBound forward = bound_forward(problem, result, precision);
  const conformance::GradientBound backward =
      bound_gradients(problem, result, exact, arriving, precision);

  const Window own{band.first, 0};
  compare_rows(Part::kOutput, call.request.output, own, {result.output, forward.output}, report);
  const tw_tensor& lse = call.request.lse;
  for (std::int64_t head = 0; head < problem.heads(); ++head) {
    for (std::int64_t row = 0; row < band.rows; ++row) {
      const Element element{Part::kLse, lse, head * lse.stride[1] + band.first + row};
      element.compare(result.lse.at(head, row), forward.lse.at(head, row), report);
    }
  }
  const tw_gradients& got = call.gradients;
  compare_rows(Part::kQueryGradient, got.query, own, {exact.query, backward.query}, report);
  if (band.first + band.rows < call.request.key.shape[1]) return report;
  const Window last{band.first, band.first};
  compare_rows(Part::kKeyGradient, got.key, last, {exact.key, backward.key}, report);
  compare_rows(Part::kValueGradient, got.value, last, {exact.value, backward.value}, report);
  return report;
}

}  // namespace

bool is_exact(const Agreement& agreement) {
  return agreement.elements > 0 && agreement.worst <= 1 && agreement.relative <= agreement.allowed;
}

std::vector<Agreement> prove(const Call& call, const std::vector<RowBand>& bands) {
  // Bands run in parallel: the oracle is simple and takes seconds.
  std::vector<std::future<Report>> parts;
  parts.reserve(bands.size());
  for (const RowBand& band : bands) {
    parts.push_back(std::async(std::launch::async, prove_band, std::cref(call), band));
  }
  Report report;
  for (std::future<Report>& part : parts) report.merge(part.get());
  std::vector<Agreement> agreements;
  for (const Part part : {Part::kOutput, Part::kLse, Part::kQueryGradient, Part::kKeyGradient,
                          Part::kValueGradient}) {
    const conformance::Agreement& one = report.of(part);
    agreements.push_back({name_of(part), one.worst, one.relative(),
                          allowed_relative(call.request.query.dtype), one.compared});
  }
  return agreements;
}

}  // namespace tilewise::cli
