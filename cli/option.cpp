#include "cli/option.h"

#include <fmt/core.h>

#include <algorithm>

#include "cli/core/failure.h"
#include "cli/core/number.h"

namespace tilewise::cli {
namespace {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return parts;
}

std::string described(const Integer& integer) {
  const bool is_bounded = integer.most != INT64_MAX;
  const std::string most = is_bounded ? std::to_string(integer.most) : "2^63 - 1";
  return fmt::format("a whole number from {} to {}", integer.least, most);
}

std::string described(const Real& real) {
  if (real.least == -DBL_MAX && real.most == DBL_MAX) return "a finite number";
  return fmt::format("a number from {} to {}", real.least, real.most);
}

// Stores one value, or returns what the option takes instead.
struct Reader {
  const std::string& value;

  using Wrong = std::optional<std::string>;

  Wrong operator()(bool* place) const {
    *place = true;
    return std::nullopt;
  }
  Wrong operator()(std::string* place) const {
    *place = value;
    return std::nullopt;
  }
  Wrong operator()(std::vector<std::string>* place) const {
    place->push_back(value);
    return std::nullopt;
  }
  Wrong operator()(const Integer& integer) const {
    const auto number = parse_integer(value);
    if (!number || *number < integer.least || *number > integer.most) return described(integer);
    *integer.place = number;
    return std::nullopt;
  }
  Wrong operator()(const Natural& natural) const {
    *natural.place = parse_natural(value);
    if (!*natural.place) return "a whole number from 0 to 2^64 - 1";
    return std::nullopt;
  }
  Wrong operator()(const Real& real) const {
    const auto number = parse_real(value);
    if (!number || *number < real.least || *number > real.most) return described(real);
    *real.place = number;
    return std::nullopt;
  }
  Wrong operator()(std::vector<std::int64_t>* place) const {
    place->clear();
    for (const std::string& part : split(value)) {
      const auto number = parse_integer(part);
      if (!number) return "whole numbers with commas between them";
      place->push_back(*number);
    }
    return std::nullopt;
  }
};

}  // namespace

void take(const Option& option, const std::string& value) {
  const std::string& name = option.name;
  if (option.takes_value() && value.empty()) {
    throw Failure(kUsage, fmt::format("{} has an empty value; give it one, or leave it out", name));
  }
  const auto wanted = std::visit(Reader{value}, option.place);
  if (wanted)
    throw Failure(kUsage, fmt::format("{} cannot be '{}': it is {}", name, value, *wanted));
}

}  // namespace tilewise::cli
