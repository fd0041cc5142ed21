// Element by element, with a tolerance that grows with what was summed.
#include "conformance/compare.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace tilewise::conformance {
namespace {

std::string at(const char* name, const Index& index) {
  std::ostringstream text;
  text << name << '(' << index[0] << ", " << index[1] << ", " << index[2] << ", " << index[3]
       << ')';
  return text.str();
}

double largest(const std::vector<double>& values) {
  double result = 0;
  for (const double value : values) {
    if (std::isfinite(value)) result = std::max(result, std::fabs(value));
  }
  return result;
}

struct Rows {
  const char* name;
  const Field& field;
  const SideCase& side;
};

// One sequence's (rows, heads, dim); an element counts as large as the largest of them.
void compare_rows(const Rows& rows, std::int64_t b, const oracle::Tensor& want, Report& report) {
  if (rows.field.absent()) return;
  const double allowed = kTolerance * (1 + largest(want.values));
  for (std::int64_t i = 0; i < want.shape[0]; ++i) {
    for (std::int64_t h = 0; h < want.shape[1]; ++h) {
      for (std::int64_t d = 0; d < want.shape[2]; ++d) {
        const double got = rows.field.read(row_index(rows.side, b, i, h, d));
        report.add(at(rows.name, {b, i, h, d}), got, want.at(i, h, d), allowed);
      }
    }
  }
}

// A sum over broadcast dimensions, with the size of what was summed beside it.
struct Sum {
  double value = 0, magnitude = 0;
  void add(double term, double size) {
    value += term;
    magnitude += size;
  }
};

void compare_bias(const Case& drawn, const Setup& setup, const Expected& expected, Report& report) {
  const Field& field = setup.gradients.bias;
  if (field.absent()) return;
  const std::int64_t heads = field.size(1), rows = field.size(2), columns = field.size(3);
  std::vector<Sum> sums(static_cast<std::size_t>(field.size(0) * heads * rows * columns));
  const auto sum_of = [&](const Index& index) -> Sum& {
    const Index to = broadcast_index(field, index);
    const std::int64_t flat = ((to[0] * heads + to[1]) * rows + to[2]) * columns + to[3];
    return sums[static_cast<std::size_t>(flat)];
  };
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    const oracle::Tensor& full = expected.gradients[static_cast<std::size_t>(b)].bias;
    const oracle::Tensor& sizes = expected.gradients[static_cast<std::size_t>(b)].magnitude;
    for (std::int64_t h = 0; h < full.shape[0]; ++h) {
      for (std::int64_t i = 0; i < full.shape[1]; ++i) {
        for (std::int64_t j = 0; j < full.shape[2]; ++j) {
          sum_of({b, h, i, j}).add(full.at(h, i, j), sizes.at(h, i, j));
        }
      }
    }
  }
  Index index = {0, 0, 0, 0};
  for (const Sum& sum : sums) {
    report.add(at("bias gradient", index), field.read(index), sum.value,
               kTolerance * (1 + sum.magnitude));
    for (std::size_t axis = 4; axis-- > 0;) {
      if (++index[axis] < field.size(static_cast<int>(axis))) break;
      index[axis] = 0;
    }
  }
}

// The size of what one head's slope gradient is summed from.
double slope_magnitude(const oracle::Attention& problem, const oracle::Tensor& sizes,
                       std::int64_t head) {
  double sum = 0;
  for (std::int64_t i = 0; i < sizes.shape[1]; ++i) {
    for (std::int64_t j = 0; j < sizes.shape[2]; ++j) {
      const auto distance = static_cast<double>(i + oracle::diagonal(problem) - j);
      sum += std::fabs(distance * sizes.at(head, i, j));
    }
  }
  return sum;
}

void compare_slopes(const Case& drawn, const Setup& setup, const Expected& expected,
                    Report& report) {
  const Field& field = setup.gradients.slopes;
  if (field.absent()) return;
  const bool by_batch = field.view().rank == 2;
  for (std::int64_t h = 0; h < drawn.heads; ++h) {
    Sum sum;
    for (std::int64_t b = 0; b < drawn.batch; ++b) {
      const auto sequence = static_cast<std::size_t>(b);
      const oracle::Gradients& gradients = expected.gradients[sequence];
      if (by_batch) sum = {};
      sum.value += gradients.slopes[static_cast<std::size_t>(h)];
      sum.magnitude += slope_magnitude(expected.problems[sequence], gradients.magnitude, h);
      if (!by_batch && b + 1 < drawn.batch) continue;
      const Index index = by_batch ? Index{b, h} : Index{h};
      report.add(at("slopes gradient", index), field.read(index), sum.value,
                 kTolerance * (1 + sum.magnitude));
    }
  }
}

void compare_sinks(const Case& drawn, const Setup& setup, const Expected& expected,
                   Report& report) {
  const Field& field = setup.gradients.sinks;
  if (field.absent()) return;
  for (std::int64_t h = 0; h < drawn.heads; ++h) {
    double sum = 0;
    std::int64_t terms = 1;
    for (std::int64_t b = 0; b < drawn.batch; ++b) {
      sum += expected.gradients[static_cast<std::size_t>(b)].sinks[static_cast<std::size_t>(h)];
      terms += drawn.queries.length(b);
    }
    report.add(at("sinks gradient", {h}), field.read({h}), sum,
               kTolerance * static_cast<double>(terms));
  }
}

void compare_lse(const Case& drawn, const Setup& setup, const oracle::Result& result,
                 std::int64_t b, Report& report) {
  for (std::int64_t h = 0; h < result.lse.shape[0]; ++h) {
    for (std::int64_t i = 0; i < result.lse.shape[1]; ++i) {
      const double got = setup.lse.read(lse_index(drawn.queries, b, h, i));
      const double want = result.lse.at(h, i);
      const std::string where = at("lse", {b, h, i});
      if (std::isinf(want)) {
        report.add_exact(where, got, want);
        for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
          report.add_exact(at("output of a row that sees nothing", {b, i, h, d}),
                           setup.output.read(row_index(drawn.queries, b, i, h, d)), 0);
        }
      } else {
        report.add(where, got, want, kTolerance * (1 + std::fabs(want)));
      }
    }
  }
}

}  // namespace

void compare_forward(const Case& drawn, const Setup& setup, const Expected& expected,
                     Report& report) {
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    const oracle::Result& result = expected.results[static_cast<std::size_t>(b)];
    compare_rows({"output", setup.output, drawn.queries}, b, result.output, report);
    compare_lse(drawn, setup, result, b, report);
  }
}

void compare_probabilities(const Case& drawn, const Setup& setup, const Expected& expected,
                           Report& report) {
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    const oracle::Tensor& want = expected.results[static_cast<std::size_t>(b)].probabilities;
    for (std::int64_t h = 0; h < want.shape[0]; ++h) {
      for (std::int64_t i = 0; i < want.shape[1]; ++i) {
        for (std::int64_t j = 0; j < want.shape[2]; ++j) {
          const double got = setup.probabilities.read({b, h, i, j});
          const std::string where = at("probability", {b, h, i, j});
          report.add(where, got, want.at(h, i, j), kTolerance);
          if (std::signbit(got) != std::signbit(want.at(h, i, j))) {
            report.fail(where + " has the wrong sign");
          }
        }
      }
    }
  }
}

void compare_gradients(const Case& drawn, const Setup& setup, const Expected& expected,
                       Report& report) {
  const GradientFields& fields = setup.gradients;
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    const oracle::Gradients& want = expected.gradients[static_cast<std::size_t>(b)];
    compare_rows({"query gradient", fields.query, drawn.queries}, b, want.query, report);
    compare_rows({"key gradient", fields.key, drawn.keys}, b, want.key, report);
    compare_rows({"value gradient", fields.value, drawn.keys}, b, want.value, report);
  }
  compare_bias(drawn, setup, expected, report);
  compare_slopes(drawn, setup, expected, report);
  compare_sinks(drawn, setup, expected, report);
}

}  // namespace tilewise::conformance
