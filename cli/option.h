// The options of a command as a table: what each is called, what it takes, and where that goes.
// Parser, help and completion all read this table; nothing here knows how words are parsed.
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

// Where a value goes: a switch, a text, each text of an option that may be given several times, a
// number, or numbers with commas between them.
using Destination = std::variant<bool*, std::string*, std::vector<std::string>*, Integer, Natural,
                                 Real, std::vector<std::int64_t>*>;

struct Option {
  std::string name;  // "--key-heads"; without dashes, the word at this place
  std::string about;
  Destination place;
  std::string type;  // what help calls the value: "FILE", "{cpu,cuda}"
  std::string group = "Options";
  bool is_required = false;

  [[nodiscard]] bool takes_value() const { return !std::holds_alternative<bool*>(place); }
};

// Puts a value that was given where it belongs; one that the option cannot take is a Failure.
void take(const Option& option, const std::string& value);

}  // namespace tilewise::cli
