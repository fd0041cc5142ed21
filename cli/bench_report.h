// How measurements and the list of cases are shown: as a table for people, as JSON for programs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/workload.h"

namespace tilewise::cli {

struct Measurement {
  Case shape;
  tw_operation operation;
  std::string backend;
  Timing timing;
  double operand_bytes, workspace_bytes;
  std::optional<std::string> refusal;  // why the backend declined; then there are no figures
};

// Rows of one case and direction stand together, the first backend that ran being their measure.
void show_measurements(const std::vector<Measurement>& results, bool json);
void show_cases(bool json);

}  // namespace tilewise::cli
