// Checks that a call leaves memory unchanged that no sequence owns.
#pragma once

#include <vector>

#include "conformance/case.h"
#include "conformance/report.h"
#include "conformance/setup.h"

namespace tilewise::conformance {

// own_outputs marks the elements of each output that sequences own. check_untouched finds outputs
// in which another element has changed, and inputs that have changed anywhere.
void own_outputs(const Case& drawn, Setup& setup);
void check_untouched(const std::vector<Setup::Named>& outputs, Setup& setup, Report& report);

}  // namespace tilewise::conformance
