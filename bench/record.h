// Keeps what a benchmark found: a line a run, a file a machine.
#pragma once

#include <string>

#include "cli/core/json.h"

namespace tilewise::cli {

// Of a report's machine, "AMD EPYC 7B13 64-Core" with 2 threads and AVX2:
// "amd-epyc-7b13-64-core-2-avx2". Of its GPU where that was measured: "nvidia-h200".
[[nodiscard]] std::string machine_slug(const Json& report);

// Makes the folder and sees to it that the machine's file can be written there: before hours of
// measuring. Of the report only the machine needs to be there. Otherwise a Failure.
void prepare_record(const std::string& folder, const Json& report);

// Adds the report, with date and commit, to FOLDER/<machine>.jsonl.
void record(const std::string& folder, const Json& report);

}  // namespace tilewise::cli
