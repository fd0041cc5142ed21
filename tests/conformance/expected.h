// What a case's call must give, from the oracle: each sequence is read out of the case's memory, as
// a dense problem of its own.
#pragma once

#include <vector>

#include "conformance/case.h"
#include "conformance/setup.h"
#include "oracle/attention.h"

namespace tilewise::conformance {

struct Expected {
  std::vector<oracle::Attention> problems;  // one a sequence
  std::vector<oracle::Result> results;
  std::vector<oracle::Gradients> gradients;  // empty unless asked for
};

[[nodiscard]] Expected expect_forward(const Case& drawn, const Setup& setup);
void expect_gradients(const Case& drawn, const Setup& setup, Expected& expected);

}  // namespace tilewise::conformance
