// The names closest to a misspelt one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tilewise::cli {

// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
[[nodiscard]] std::size_t edit_distance(std::string_view from, std::string_view to);

// The nearest names, at most three, best first. Up to a third of a word's letters may differ.
[[nodiscard]] std::vector<std::string> nearest(std::string_view word,
                                               const std::vector<std::string>& names);

// "there is no case 'x'; did you mean 'y' or 'z'?". If no name is near and the names are
// few, it lists all names.
[[nodiscard]] std::string no_such(std::string_view kind, std::string_view word,
                                  const std::vector<std::string>& names);

}  // namespace tilewise::cli
