// The oracle's results of a case, and bounds for how far a call's results may be from them. The
// oracle computes each sequence as a dense problem, read from the case's memory.
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
