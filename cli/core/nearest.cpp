#include "cli/core/nearest.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "cli/core/joined.h"

namespace tilewise::cli {

std::size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> before_last, last, row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= from.size(); ++i) {
    before_last = std::exchange(last, row);
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1);
      row[j] = std::min({replaced, last[j] + 1, row[j - 1] + 1});
      const bool is_swap = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
      if (is_swap) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row.back();
}

namespace {

// The smaller of two numbers: twice the edit distance from `word` to `name`, and twice that to the
// first letters of `name`, plus 1. People often type only the first letters of a long name.
std::size_t twice_distance(std::string_view word, std::string_view name) {
  std::size_t distance = 2 * edit_distance(word, name);
  for (std::size_t length = word.size(); length <= word.size() + 1; ++length) {
    distance = std::min(distance, 2 * edit_distance(word, name.substr(0, length)) + 1);
  }
  return distance;
}

}  // namespace

std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& names) {
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& name : names) {
    const std::size_t distance = twice_distance(word, name);
    if (3 * distance <= 2 * std::max(word.size(), std::size_t{3}) + 1) {
      ranked.emplace_back(distance, name);
    }
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> result;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, ranked.size()); ++i) {
    result.push_back(ranked[i].second);
  }
  return result;
}

std::string no_such(std::string_view kind, std::string_view word,
                    const std::vector<std::string>& names) {
  const std::vector<std::string> near = nearest(word, names);
  constexpr std::size_t kFewNames = 12;
  if (near.empty() && names.size() > kFewNames) {
    return fmt::format("there is no {} '{}', and none like it among {}", kind, word, names.size());
  }
  if (near.empty()) {
    return fmt::format("there is no {} '{}'; there are: {}", kind, word, joined(names, ", "));
  }
  return fmt::format("there is no {} '{}'; did you mean '{}'?", kind, word, joined(near, "' or '"));
}

}  // namespace tilewise::cli
