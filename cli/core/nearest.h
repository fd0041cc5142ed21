// The names closest to a misspelt one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tilewise::cli {

// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
[[nodiscard]] std::size_t edit_distance(std::string_view from, std::string_view to);

// At most three, best first; none that differs from the word in more than a third of its letters.
[[nodiscard]] std::vector<std::string> nearest(std::string_view word,
                                               const std::vector<std::string>& names);

// "there is no case 'x'; did you mean 'y' or 'z'?", or all names where none is near and they are
// few.
[[nodiscard]] std::string no_such(std::string_view kind, std::string_view word,
                                  const std::vector<std::string>& names);

}  // namespace tilewise::cli
