// All of the program but its process: from words to an exit status.
#pragma once

#include <string_view>

#include "cli/core/failure.h"

namespace tilewise::cli {

// Whether the command of this name runs when its words are right; otherwise they are only parsed.
using MayRun = bool (*)(std::string_view command);

// Throws Failure, and ReaderGone.
ExitStatus parse_and_run(int count, char** words, MayRun may_run);

// Tells a failure on standard error, with --json on standard output as well.
ExitStatus report(const Failure& failure, int count, char** words);

// As main calls it: every failure is told; throws ReaderGone alone.
ExitStatus run_program(int count, char** words);

}  // namespace tilewise::cli
