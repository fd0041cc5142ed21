// Where a fuzzed call runs: few threads, or a host that calls tasks in an order of its own.
#pragma once

#include "fuzz/surface.h"

namespace tilewise::fuzz {

struct Where {
  explicit Where(Bytes& bytes);
  Where(const Where&) = delete;
  Where& operator=(const Where&) = delete;

  Roomy<tw_execution> execution;
  Roomy<tw_parallel> parallel;

  [[nodiscard]] Surface surface();
  // Thousands of threads would be allowed, but take long to start.
  void keep_few_threads();
};

}  // namespace tilewise::fuzz
