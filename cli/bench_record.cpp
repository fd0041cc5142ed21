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

namespace {

// Processors are rented by one name for several generations: what they multiply with tells them
// apart.
std::string widest(const Json& features) {
  for (const char* feature : {"amx_bf16", "avx512_bf16", "avx512f", "avx2"})
    for (const Json& has : features)
      if (has == feature) return feature;
  return "";
}

}  // namespace

std::string machine_slug(const Json& machine) {
  const std::string name =
      fmt::format("{} {} {}", machine.at("processor").get<std::string>(),
                  machine.at("threads").get<int>(), widest(machine.at("features")));
  std::string slug;
  for (const char letter : name) {
    const auto byte = static_cast<unsigned char>(letter);
    if (std::isalnum(byte) != 0 && byte < 0x80) {
      slug += static_cast<char>(std::tolower(byte));
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
  }
  if (slug.back() == '-') slug.pop_back();
  return slug;
}

void record(const std::string& folder, const Json& report) {
  const char* commit = std::getenv("TILEWISE_COMMIT");
  Json line{{"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
            {"commit", commit != nullptr ? Json(commit) : Json(nullptr)}};
  line.update(report);
  const std::filesystem::path path =
      std::filesystem::path(folder) / (machine_slug(report.at("machine")) + ".jsonl");
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  std::ofstream file(path, std::ios::app);
  file << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
  if (!file) throw Failure(kFailed, fmt::format("cannot write to {}", path.string()));
}

}  // namespace tilewise::cli
