// Keeps the benchmark's results: a line for each run in a file for each machine.
#pragma once

#include <string>

#include "cli/core/json.h"

namespace tilewise::cli {

// The name of the machine's file: "amd-epyc-7b13-64-core-2-avx2" for "AMD EPYC 7B13 64-Core", 2
// threads and AVX2; "nvidia-h200" if that GPU was measured.
[[nodiscard]] std::string machine_slug(const Json& report);

// Makes the folder and checks that the machine's file can be written, before hours of measuring;
// throws Failure. Of the report only the machine and the device are read.
void prepare_record(const std::string& folder, const Json& report);

// Adds the report, with date and commit, to FOLDER/<machine>.jsonl.
void record(const std::string& folder, const Json& report);

}  // namespace tilewise::cli
