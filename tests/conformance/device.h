// Where the harness's calls run: on the processor or, by use_device or TILEWISE_TEST_DEVICE=cuda or
// cuda:1, on a GPU. The GPU works in the harness's own host memory (show()), so the harness finds
// stray writes there, too.
#pragma once

#include <cstddef>

#include "tilewise/tilewise.h"

namespace tilewise::conformance {

[[nodiscard]] tw_device device_of_calls();

// Sets the device in place of the environment's. To be called before any other function here.
void use_device(tw_device where);

[[nodiscard]] inline bool calls_run_on_device() {
  return device_of_calls().kind != TW_CPU;
}

// The execution of a call without workspace.
[[nodiscard]] inline tw_execution where_calls_run() {
  tw_execution where{};
  where.size = sizeof where;
  where.device = device_of_calls();
  where.device_tables = calls_run_on_device() ? 1 : 0;
  return where;
}

// show() gives the GPU access to `pages`, whole pages of host memory; hide() ends it. Both do
// nothing if calls run on the processor.
void show(void* pages, std::size_t bytes);
void hide(void* pages);

// Waits for all calls so far.
void wait_for_device();

}  // namespace tilewise::conformance
