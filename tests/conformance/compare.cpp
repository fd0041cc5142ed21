// Compares element by element. Sums over several sequences are compared after the last one.
#include "conformance/compare.h"

#include <algorithm>
#include <cmath>

#include "conformance/number.h"

namespace tilewise::conformance {
namespace {

// One result of a case as the call wrote it.
struct Written {
  Part part;
  const Field& field;

  // Compares one element. Beyond its type's range a result may be the largest number or infinite.
  void compare(const Index& at, const Index& label, double want, double allowed,
               Report& report) const {
    const double got = field.read(at);
    const double limit = largest(static_cast<tw_dtype>(field.view().dtype));
    const bool is_beyond = std::fabs(want) + allowed >= limit;
    if (is_beyond && std::fabs(got) >= limit && std::signbit(got) == std::signbit(want)) return;
    report.add(part, label,
               {got, want, allowed, rounding_of(static_cast<tw_dtype>(field.view().dtype), want)});
  }
};

// Compares one sequence's rows, (rows, heads, dim).
void compare_rows(const Written& written, const SideCase& side, std::int64_t b,
                  const oracle::Tensor& want, const oracle::Tensor& allowed, Report& report) {
  if (written.field.absent()) return;
  for (std::int64_t i = 0; i < want.shape[0]; ++i) {
    for (std::int64_t h = 0; h < want.shape[1]; ++h) {
      for (std::int64_t d = 0; d < want.shape[2]; ++d) {
        written.compare(row_index(side, b, i, h, d), {b, i, h, d}, want.at(i, h, d),
                        allowed.at(i, h, d), report);
      }
    }
  }
}

// A sum over sequences and broadcast dimensions, with the sum's error.
struct Reduced {
  double value = 0;
  ErrorSum error;
};

// The wanted gradient of bias, slopes or sinks: one sum for each element of `field`.
class Reduction {
 public:
  explicit Reduction(const Field& field) : field_(field) {
    std::int64_t count = 1;
    for (int axis = 0; axis < field.view().rank; ++axis) count *= field.size(axis);
    sums_.resize(static_cast<std::size_t>(count));
  }

  Reduced& at(const Index& index) {
    std::int64_t flat = 0;
    for (int axis = 0; axis < field_.view().rank; ++axis) {
      const std::int64_t size = field_.size(axis);
      flat = flat * size + (size == 1 ? 0 : index[static_cast<std::size_t>(axis)]);
    }
    return sums_[static_cast<std::size_t>(flat)];
  }

  void compare(Part part, const Precision& precision, Report& report) const {
    const Written written{part, field_};
    Index index = {};
    for (const Reduced& sum : sums_) {
      written.compare(index, index, sum.value, sum.error.bound(precision), report);
      for (auto axis = static_cast<std::size_t>(field_.view().rank); axis-- > 0;) {
        if (++index[axis] < field_.size(static_cast<int>(axis))) break;
        index[axis] = 0;
      }
    }
  }

 private:
  const Field& field_;
  std::vector<Reduced> sums_;
};

void compare_bias(const Field& field, const Precision& precision, const Expected& expected,
                  Report& report) {
  if (field.absent()) return;
  Reduction sums(field);
  for (std::size_t b = 0; b < expected.size(); ++b) {
    const oracle::Tensor& full = expected[b].gradients.bias;
    const oracle::Tensor& errors = expected[b].gradient_bound.score;
    for (std::int64_t h = 0; h < full.shape[0]; ++h) {
      for (std::int64_t i = 0; i < full.shape[1]; ++i) {
        for (std::int64_t j = 0; j < full.shape[2]; ++j) {
          Reduced& sum = sums.at({static_cast<std::int64_t>(b), h, i, j});
          sum.value += full.at(h, i, j);
          sum.error.add(errors.at(h, i, j), full.at(h, i, j));
        }
      }
    }
  }
  sums.compare(Part::kBiasGradient, precision, report);
}

void compare_slopes(const Field& field, const Precision& precision, const Expected& expected,
                    Report& report) {
  if (field.absent()) return;
  const bool by_batch = field.view().rank == 2;
  Reduction sums(field);
  for (std::size_t b = 0; b < expected.size(); ++b) {
    const std::vector<double>& slopes = expected[b].gradients.slopes;
    for (std::size_t h = 0; h < slopes.size(); ++h) {
      const auto head = static_cast<std::int64_t>(h);
      Reduced& sum = sums.at(by_batch ? Index{static_cast<std::int64_t>(b), head} : Index{head});
      sum.value += slopes[h];
      sum.error.add(expected[b].gradient_bound.slopes[h]);
    }
  }
  sums.compare(Part::kSlopesGradient, precision, report);
}

void compare_sinks(const Field& field, const Precision& precision, const Expected& expected,
                   Report& report) {
  if (field.absent()) return;
  Reduction sums(field);
  for (const ExpectedSequence& sequence : expected) {
    for (std::size_t h = 0; h < sequence.gradients.sinks.size(); ++h) {
      Reduced& sum = sums.at({static_cast<std::int64_t>(h)});
      sum.value += sequence.gradients.sinks[h];
      sum.error.add(sequence.gradient_bound.sinks[h]);
    }
  }
  sums.compare(Part::kSinksGradient, precision, report);
}

}  // namespace

void compare_forward(const Case& drawn, const Setup& setup, const Expected& expected,
                     Report& report) {
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    const auto& [problem, result, bound, gradients, unused] = expected[static_cast<std::size_t>(b)];
    compare_rows({Part::kOutput, setup.output}, drawn.queries, b, result.output, bound.output,
                 report);
    const Written lse{Part::kLse, setup.lse};
    for (std::int64_t h = 0; h < drawn.heads; ++h) {
      for (std::int64_t i = 0; i < drawn.queries.length(b); ++i) {
        lse.compare(lse_index(drawn.queries, b, h, i), {b, h, i}, result.lse.at(h, i),
                    bound.lse.at(h, i), report);
      }
    }
  }
}

void compare_probabilities(const Case& drawn, const Setup& setup, const Expected& expected,
                           Report& report) {
  const Written written{Part::kProbabilities, setup.probabilities};
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    const ExpectedSequence& sequence = expected[static_cast<std::size_t>(b)];
    const oracle::Tensor& want = sequence.result.probabilities;
    for (std::int64_t h = 0; h < want.shape[0]; ++h) {
      for (std::int64_t i = 0; i < want.shape[1]; ++i) {
        for (std::int64_t j = 0; j < want.shape[2]; ++j) {
          const Index index = {b, h, i, j};
          written.compare(index, index, want.at(h, i, j), sequence.bound.probabilities.at(h, i, j),
                          report);
          // Dropped probabilities have a negative sign, even if the weight is 0.
          if (std::signbit(setup.probabilities.read(index)) != std::signbit(want.at(h, i, j))) {
            report.fail("a probability has the wrong sign");
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
    const ExpectedSequence& sequence = expected[static_cast<std::size_t>(b)];
    const oracle::Gradients& want = sequence.gradients;
    const GradientBound& bound = sequence.gradient_bound;
    compare_rows({Part::kQueryGradient, fields.query}, drawn.queries, b, want.query, bound.query,
                 report);
    compare_rows({Part::kKeyGradient, fields.key}, drawn.keys, b, want.key, bound.key, report);
    compare_rows({Part::kValueGradient, fields.value}, drawn.keys, b, want.value, bound.value,
                 report);
  }
  const Precision precision = precision_of(drawn.dtypes.input, drawn.dtypes.output);
  compare_bias(fields.bias, precision, expected, report);
  compare_slopes(fields.slopes, precision, expected, report);
  compare_sinks(fields.sinks, precision, expected, report);
}

}  // namespace tilewise::conformance
