// The command line `tilewise`: it knows the library by its C face alone, as any user does.
#include <csignal>

#include "cli/program.h"

int main(int count, char** words) {
  // A reader that leaves early must end the program in the ordinary way, temporary files removed.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return tilewise::cli::run_program(count, words);
  } catch (const std::exception&) {
    return tilewise::cli::kFailed;
  }
}
