// Numbers that a person wrote in decimal. The whole text must be one number.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace tilewise::cli {

[[nodiscard]] std::optional<std::int64_t> parse_integer(std::string_view text);
// A whole number from 0 to 2^64 - 1.
[[nodiscard]] std::optional<std::uint64_t> parse_natural(std::string_view text);
// A finite number.
[[nodiscard]] std::optional<double> parse_real(std::string_view text);

}  // namespace tilewise::cli
