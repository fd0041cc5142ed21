#include "cli/bench_record.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cctype>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cli/failure.h"

namespace tilewise::cli {

using Json = nlohmann::ordered_json;

std::string machine_slug(const std::string& processor, int threads) {
  std::string slug;
  for (const char letter : processor) {
    const auto byte = static_cast<unsigned char>(letter);
    if (std::isalnum(byte) != 0 && byte < 0x80) {
      slug += static_cast<char>(std::tolower(byte));
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
  }
  if (!slug.empty() && slug.back() != '-') slug += '-';
  return fmt::format("{}{}", slug, threads);
}

void record(const std::string& folder, const Json& report) {
  const char* commit = std::getenv("TILEWISE_COMMIT");
  Json line{{"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
            {"commit", commit != nullptr ? Json(commit) : Json(nullptr)}};
  line.update(report);
  const Json& machine = report.at("machine");
  const std::filesystem::path path =
      std::filesystem::path(folder) /
      (machine_slug(machine.at("processor").get<std::string>(), machine.at("threads").get<int>()) +
       ".jsonl");
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  std::ofstream file(path, std::ios::app);
  file << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
  if (!file) throw Failure(kFailed, fmt::format("cannot write to {}", path.string()));
}

}  // namespace tilewise::cli
