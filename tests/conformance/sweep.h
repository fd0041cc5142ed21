// Checks many cases on several threads.
#pragma once

#include <functional>
#include <vector>

#include "conformance/series.h"

namespace tilewise::conformance {

// Calls done(pick, report) once for each case, one at a time and in any order. If a bad access
// kills the program, it first prints on standard error which cases were running.
using Done = std::function<void(const Pick&, const Report&)>;
void sweep(const std::vector<Pick>& picks, int jobs, const Done& done);

// "tilewise check --case random/gauss/float32 --seed 17"
[[nodiscard]] std::string replay_line(const Pick& pick);

}  // namespace tilewise::conformance
