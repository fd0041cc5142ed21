// The oracle's results of a case and their bounds. Each sequence is read out of the case's memory
// and computed as a dense problem.
#pragma once

#include <vector>

#include "conformance/case.h"
#include "conformance/gradient_bound.h"
#include "conformance/setup.h"
#include "oracle/attention.h"

namespace tilewise::conformance {

struct ExpectedSequence {
  oracle::Attention problem;
  oracle::Result result;
  ForwardBound bound;
  oracle::Gradients gradients;  // with its bound, empty before expect_gradients
  GradientBound gradient_bound;
};
using Expected = std::vector<ExpectedSequence>;

[[nodiscard]] Expected expect_forward(const Case& drawn, const Setup& setup);
void expect_gradients(const Case& drawn, const Setup& setup, Expected& expected);

}  // namespace tilewise::conformance
