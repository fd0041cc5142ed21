// The whole program but for main: from words to an exit status.
#pragma once

#include <string_view>

#include "cli/core/failure.h"

namespace tilewise::cli {

// Whether a command runs once its words are parsed; for tests that only parse.
using MayRun = bool (*)(std::string_view command);

// Throws Failure and ReaderGone.
ExitStatus parse_and_run(int count, char** words, MayRun may_run);

// Prints a failure on standard error, and with --json on standard output as well.
ExitStatus report(const Failure& failure, int count, char** words);

// For main: prints every failure. Throws only ReaderGone.
ExitStatus run_program(int count, char** words);

}  // namespace tilewise::cli
