// The main job, shown: attention forward and backward on a problem of this machine's size, proved
// against the oracle, timed and weighed.
#pragma once

#include <cstdint>
#include <string>

#include "cli/demo_report.h"

namespace tilewise::cli {

struct DemoOptions {
  std::int64_t length = 0;  // 0: what this machine does in seconds
  std::string dtype = "float32", device, backend;
  std::int32_t threads = 0;
  tw_format plans = TW_TEXT;
};

[[nodiscard]] DemoReport demonstrate(const DemoOptions& options);

}  // namespace tilewise::cli
