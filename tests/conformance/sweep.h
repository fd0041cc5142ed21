// Checks many cases on several threads.
#pragma once

#include <functional>
#include <vector>

#include "conformance/series.h"

namespace tilewise::conformance {

// Calls done(pick, report) once for each case, by one thread at a time and in any order. When the
// program is killed by a bad access meanwhile, it first says on standard error which cases ran.
using Done = std::function<void(const Pick&, const Report&)>;
void sweep(const std::vector<Pick>& picks, int jobs, const Done& done);

// "tilewise check --case random/gauss/float32 --seed 17"
[[nodiscard]] std::string replay_line(const Pick& pick);

}  // namespace tilewise::conformance
