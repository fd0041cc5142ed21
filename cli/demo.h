// `tilewise demo`: attention forward and backward over a sequence of up to 16384 rows, as long as
// this machine can do in some seconds, timed, with the memory that it takes. Sampled rows of it,
// and all rows of a small problem, are compared with the oracle.
#pragma once

#include <cstdint>
#include <string>

#include "cli/demo_report.h"

namespace tilewise::cli {

struct DemoOptions {
  std::int64_t length = 0;  // 0: chosen so that the demo takes some seconds
  std::string dtype = "float32", device, backend;
  std::int32_t threads = 0;
  tw_format plans = TW_TEXT;
};

[[nodiscard]] DemoReport demonstrate(const DemoOptions& options);

}  // namespace tilewise::cli
