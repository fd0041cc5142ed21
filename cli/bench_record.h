// Keeps what a benchmark found: a line a run, a file a machine.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace tilewise::cli {

// Of a report's machine, "AMD EPYC 7B13 64-Core" with 2 threads and AVX2:
// "amd-epyc-7b13-64-core-2-avx2".
[[nodiscard]] std::string machine_slug(const nlohmann::ordered_json& machine);

// Adds the report, with date and commit, to FOLDER/<machine>.jsonl.
void record(const std::string& folder, const nlohmann::ordered_json& report);

}  // namespace tilewise::cli
