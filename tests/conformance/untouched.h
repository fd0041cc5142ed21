// Checks that a call leaves memory unchanged that no sequence owns.
#pragma once

#include <vector>

#include "conformance/case.h"
#include "conformance/report.h"
#include "conformance/setup.h"

namespace tilewise::conformance {

// Marks the elements of each output that sequences own; all others must keep their bits.
void own_outputs(const Case& drawn, Setup& setup);
void check_untouched(const std::vector<Setup::Named>& outputs, Setup& setup, Report& report);

}  // namespace tilewise::conformance
