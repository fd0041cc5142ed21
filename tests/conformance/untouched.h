// Memory that nobody owns: a call leaves its bits alone.
#pragma once

#include <vector>

#include "conformance/case.h"
#include "conformance/report.h"
#include "conformance/setup.h"

namespace tilewise::conformance {

// Marks what each output's sequences own; the rest must keep its bits.
void own_outputs(const Case& drawn, Setup& setup);
void check_untouched(const std::vector<Setup::Named>& outputs, Setup& setup, Report& report);

}  // namespace tilewise::conformance
