// Prints measurements and the list of cases, as a table or as JSON.
#pragma once

#include <string>
#include <vector>

#include "bench/measure.h"
#include "cli/core/json.h"

namespace tilewise::cli {

// The head of a report: the machine, the threads of the run, and the GPU.
[[nodiscard]] Json machine_json(int threads, const Device& device);

// The whole result of a run: machine, peaks, peers and cases.
[[nodiscard]] Json bench_json(const Bench& bench, const std::vector<Measurement>& results);

// Prints the table; the rows of one case and direction stand together.
void show_measurements(const Bench& bench, const std::vector<Measurement>& results);
void show_cases(bool json);

}  // namespace tilewise::cli
