// Bounds of the errors of gradients; docs/numerics.md derives them.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "conformance/bound.h"
#include "oracle/attention.h"

namespace tilewise::conformance {

// What bounds the error of a sum: the errors and the absolute values of its terms, each added up,
// and the number of terms.
struct ErrorSum {
  double error = 0, magnitude = 0;
  std::int64_t count = 0;

  void add(double term_error, double term) {
    error += term_error;
    magnitude += std::fabs(term);
    ++count;
  }
  void add(const ErrorSum& other) {
    error += other.error;
    magnitude += other.magnitude;
    count += other.count;
  }
  [[nodiscard]] double bound(const Precision& precision) const {
    if (magnitude == 0) return error;
    return error + precision.sum(count) * magnitude +
           precision.term_floor * static_cast<double>(count);
  }
};

struct GradientBound {
  oracle::Tensor query, key, value;     // shaped like the gradients
  oracle::Tensor score;                 // (heads, queries, keys): of a score's, for the bias
  std::vector<ErrorSum> slopes, sinks;  // one a query head
};

[[nodiscard]] GradientBound bound_gradients(const oracle::Attention& problem,
                                            const oracle::Result& result,
                                            const oracle::Gradients& gradients,
                                            const oracle::Arriving& arriving,
                                            const Precision& precision);

}  // namespace tilewise::conformance
