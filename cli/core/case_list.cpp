// The list of bench/cases that is built into the program.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "cli/core/cases.h"
#include "cli/core/embedded_cases.h"
#include "cli/core/nearest.h"

namespace tilewise::cli {
namespace {

constexpr std::array<std::string_view, 6> kTierNames{"quick", "usual",   "long",
                                                     "bars",  "lengths", "gpu"};

}  // namespace

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases = parse_cases(kEmbeddedCases);
  return cases;
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const Case& shape : all_cases()) names.push_back(shape.name);
  return names;
}

const Case& find_case(std::string_view name) {
  const auto& cases = all_cases();
  const auto found = std::find_if(cases.begin(), cases.end(),
                                  [&](const Case& shape) { return shape.name == name; });
  if (found == cases.end()) {
    throw std::invalid_argument(
        fmt::format("{} (tilewise bench --list shows them)", no_such("case", name, case_names())));
  }
  return *found;
}

std::string_view tier_name(Tier tier) {
  return kTierNames.at(static_cast<std::size_t>(tier));
}

std::vector<std::string> tier_names() {
  return {kTierNames.begin(), kTierNames.end()};
}

}  // namespace tilewise::cli
