#include "bench/record.h"

#include <fmt/core.h>

#include <cctype>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "cli/core/failure.h"

namespace tilewise::cli {

namespace {

// The widest of the instructions that tell apart processors which clouds rent by one name.
std::string widest(const Json& features) {
  for (const char* feature : {"amx_bf16", "avx512_bf16", "avx512f", "avx2"})
    for (const Json& has : features.values())
      if (has.get<std::string>() == feature) return feature;
  return "";
}

std::string now() {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::string text(sizeof "2000-01-01T00:00:00Z", '\0');
  text.resize(std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts));
  return text;
}

std::filesystem::path path_of(const std::string& folder, const Json& report) {
  return std::filesystem::path(folder) / (machine_slug(report) + ".jsonl");
}

void append(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::app);
  file << text << std::flush;
  if (!file) throw Failure(kFailed, fmt::format("cannot write to {}", path.string()));
}

}  // namespace

std::string machine_slug(const Json& report) {
  // A GPU's results do not depend on the processor beside it, so it is named alone.
  const Json* device = report.find("device");
  const Json& machine = report.at("machine");
  const std::string name =
      device != nullptr
          ? device->at("name").get<std::string>()
          : fmt::format("{} {} {}", machine.at("processor").get<std::string>(),
                        machine.at("threads").get<std::int64_t>(), widest(machine.at("features")));
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

void prepare_record(const std::string& folder, const Json& report) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const std::filesystem::path path = path_of(folder, report);
  const bool is_new = !std::filesystem::exists(path, error);
  append(path, "");
  if (is_new) std::filesystem::remove(path, error);
}

void record(const std::string& folder, const Json& report) {
  const char* commit = std::getenv("TILEWISE_COMMIT");
  Json line{{"date", now()}, {"commit", commit != nullptr ? Json(commit) : Json(nullptr)}};
  for (const std::string& name : report.names()) line[name] = report.at(name);
  append(path_of(folder, report), one_line_json(line) + "\n");
}

}  // namespace tilewise::cli
