// How measurements and the list of cases are shown: as a table for people, as JSON for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/bench_measure.h"

namespace tilewise::cli {

// All that a run found: machine, peaks, peers and cases.
[[nodiscard]] nlohmann::ordered_json bench_json(const Bench& bench,
                                                const std::vector<Measurement>& results);

// Rows of one case and direction stand together.
void show_measurements(const Bench& bench, const std::vector<Measurement>& results);
void show_cases(bool json);

}  // namespace tilewise::cli
