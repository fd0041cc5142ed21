// The result of `tilewise demo`, as text and as JSON.
#pragma once

#include <string>
#include <vector>

#include "cli/core/device.h"
#include "cli/core/workload.h"
#include "cli/proof.h"

namespace tilewise::cli {

struct DirectionReport {
  Timing timing;
  // The most memory in use at once: resident on the host, or allocated on a GPU.
  double workspace_bytes = 0, peak_bytes = 0;
};

struct DemoReport {
  Device device;
  Case small, large;
  std::vector<Agreement> whole, sampled;  // of the small problem, of rows of the large one
  DirectionReport forward, backward;
  double operand_bytes = 0, total_seconds = 0;
  std::string forward_plan, backward_plan;  // tw_explain's answers, as text or as JSON
};

[[nodiscard]] bool is_proved(const DemoReport& report);

// Bytes of the score matrix, which the standard algorithm stores and this one does not.
[[nodiscard]] double score_matrix_bytes(const Case& shape);

[[nodiscard]] double gflops(const Case& shape, bool backward, const DirectionReport& report);

void show(const DemoReport& report);

}  // namespace tilewise::cli
