// Compares what a call wrote with the oracle's results.
#pragma once

#include "conformance/case.h"
#include "conformance/expected.h"
#include "conformance/report.h"
#include "conformance/setup.h"

namespace tilewise::conformance {

void compare_forward(const Case& drawn, const Setup& setup, const Expected& expected,
                     Report& report);
void compare_probabilities(const Case& drawn, const Setup& setup, const Expected& expected,
                           Report& report);
void compare_gradients(const Case& drawn, const Setup& setup, const Expected& expected,
                       Report& report);

}  // namespace tilewise::conformance
