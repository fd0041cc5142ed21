// The command line `tilewise`. It calls the library through its public headers.
#include <csignal>

#include "cli/program.h"

int main(int count, char** words) {
  // If the reader of the output leaves, the program must end in the ordinary way and remove its
  // temporary files.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return tilewise::cli::run_program(count, words);
  } catch (const std::exception&) {
    return tilewise::cli::kFailed;
  }
}
