// What every command of the program is: options added to the app, and a function that runs it.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "cli/failure.h"

namespace tilewise::cli {

// The command that was chosen on the command line; set by CLI11's callback, run by main.
using Chosen = std::function<ExitStatus()>;

void add_check(CLI::App& app, Chosen& chosen);
void add_explain(CLI::App& app, Chosen& chosen);
void add_run(CLI::App& app, Chosen& chosen);
void add_bench(CLI::App& app, Chosen& chosen);
void add_demo(CLI::App& app, Chosen& chosen);
void add_completion(CLI::App& app, Chosen& chosen);

}  // namespace tilewise::cli
