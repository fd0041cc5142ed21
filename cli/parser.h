// Parses the command line by the table of options of each command. The library that does the
// parsing is large, so only parser.cpp includes it.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace tilewise::cli {

struct Program {
  std::string name, about, version, footer;
  std::vector<Command> commands;
};

// The command that was named, with its options filled in; or else the text to print (help,
// version).
struct Parsed {
  const Command* command = nullptr;
  std::string text;
};

// Throws Failure for words that are wrong.
[[nodiscard]] Parsed parse(const Program& program, const std::vector<std::string>& words);

}  // namespace tilewise::cli
