// Where the harness's calls run: on the processor or, by use_device or TILEWISE_TEST_DEVICE=cuda or
// cuda:1, on a GPU, which is shown the harness's own memory. So all that checks memory goes on to
// do so.
#pragma once

#include <cstddef>

#include "tilewise/tilewise.h"

namespace tilewise::conformance {

[[nodiscard]] tw_device device_of_calls();

// Instead of what the environment says, and before anything is asked here.
void use_device(tw_device where);

[[nodiscard]] inline bool calls_run_on_device() {
  return device_of_calls().kind != TW_CPU;
}

// Of a call that has no workspace.
[[nodiscard]] inline tw_execution where_calls_run() {
  tw_execution where{};
  where.size = sizeof where;
  where.device = device_of_calls();
  where.device_tables = calls_run_on_device() ? 1 : 0;
  return where;
}

// Whole pages that calls may use, and no longer.
void show(void* pages, std::size_t bytes);
void hide(void* pages);

// Until all that calls have begun is done.
void wait_for_device();

}  // namespace tilewise::conformance
