// Checks that a call leaves memory unchanged that no sequence owns.
#pragma once

#include <vector>

#include "conformance/case.h"
#include "conformance/report.h"
#include "conformance/setup.h"

namespace tilewise::conformance {

// own_outputs marks the elements of each output that a call may write. check_untouched reports a
// failure for each output in which another element has changed, and for each input that has
// changed.
void own_outputs(const Case& drawn, Setup& setup);
void check_untouched(const std::vector<Setup::Named>& outputs, Setup& setup, Report& report);

}  // namespace tilewise::conformance
