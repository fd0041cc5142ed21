// The options of a command as a table: the name of each, the kind of value that it takes, and where
// the value is stored. The parser, the help and the shell completion read this table.
#pragma once

#include <cfloat>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace tilewise::cli {

struct Integer {
  std::optional<std::int64_t>* place;
  std::int64_t least = 0, most = INT64_MAX;
};
struct Natural {
  std::optional<std::uint64_t>* place;
};
struct Real {
  std::optional<double>* place;
  double least = -DBL_MAX, most = DBL_MAX;
};

// Where a value goes: a switch, a text, the texts of an option that may be repeated, a number, or
// numbers separated by commas.
using Destination = std::variant<bool*, std::string*, std::vector<std::string>*, Integer, Natural,
                                 Real, std::vector<std::int64_t>*>;

struct Option {
  std::string name;  // "--key-heads"; without dashes: a word by its place
  std::string about;
  Destination place;
  std::string type;  // what help calls the value: "FILE", "{cpu,cuda}"
  std::string group = "Options";
  bool is_required = false;

  [[nodiscard]] bool takes_value() const { return !std::holds_alternative<bool*>(place); }
};

// Stores a given value at its destination; a value that the option does not allow is a Failure.
void take(const Option& option, const std::string& value);

}  // namespace tilewise::cli
