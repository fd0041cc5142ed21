// A command of the program: a table of options, and the function that runs it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/core/failure.h"
#include "cli/option.h"

namespace tilewise::cli {

struct Command {
  std::string name, about, footer;
  std::vector<Option> options;  // `run` owns what they fill in
  std::function<ExitStatus()> run;
};

[[nodiscard]] Command demo_command();
[[nodiscard]] Command check_command();
[[nodiscard]] Command explain_command();
[[nodiscard]] Command run_command();
[[nodiscard]] Command bench_command();
[[nodiscard]] Command kernels_command();
[[nodiscard]] Command completion_command();

// All commands, in the order of --help.
[[nodiscard]] std::vector<Command> all_commands();

}  // namespace tilewise::cli
