// How measurements and the list of cases are shown: as a table for people, as JSON for programs.
#pragma once

#include <string>
#include <vector>

#include "bench/measure.h"
#include "cli/core/json.h"

namespace tilewise::cli {

// The head of a report: the machine that a run is on, with the threads that it takes, and the GPU.
[[nodiscard]] Json machine_json(int threads, const Device& device);

// All that a run found: machine, peaks, peers and cases.
[[nodiscard]] Json bench_json(const Bench& bench, const std::vector<Measurement>& results);

// Rows of one case and direction stand together.
void show_measurements(const Bench& bench, const std::vector<Measurement>& results);
void show_cases(bool json);

}  // namespace tilewise::cli
