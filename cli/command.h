// What every command of the program is: a table of options, and a function that runs it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/core/failure.h"
#include "cli/option.h"

namespace tilewise::cli {

struct Command {
  std::string name, about, footer;
  std::vector<Option> options;  // what they fill in belongs to `run`
  std::function<ExitStatus()> run;
};

[[nodiscard]] Command demo_command();
[[nodiscard]] Command check_command();
[[nodiscard]] Command explain_command();
[[nodiscard]] Command run_command();
[[nodiscard]] Command bench_command();
[[nodiscard]] Command kernels_command();
[[nodiscard]] Command completion_command();

// In the order of --help.
[[nodiscard]] std::vector<Command> all_commands();

}  // namespace tilewise::cli
