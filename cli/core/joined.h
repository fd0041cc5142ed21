// A list as one line of text: "a, b, c".
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

namespace tilewise::cli {

// Joins words or numbers.
template <class List>
[[nodiscard]] std::string joined(const List& list, std::string_view between) {
  std::string text;
  bool is_first = true;
  for (const auto& each : list) {
    if (!is_first) text += between;
    is_first = false;
    if constexpr (std::is_arithmetic_v<std::remove_cvref_t<decltype(each)>>) {
      text += std::to_string(each);
    } else {
      text += each;
    }
  }
  return text;
}

}  // namespace tilewise::cli
