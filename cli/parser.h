// Reads the words of the command line into the tables of the commands. The parser's library is
// large: parser.cpp alone knows it.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace tilewise::cli {

struct Program {
  std::string name, about, version, footer;
  std::vector<Command> commands;
};

// The command that was named, its options filled in; or else the text that was asked for.
struct Parsed {
  const Command* command = nullptr;
  std::string text;
};

// Words that are wrong are a Failure.
[[nodiscard]] Parsed parse(const Program& program, const std::vector<std::string>& words);

}  // namespace tilewise::cli
