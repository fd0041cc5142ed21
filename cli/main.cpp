// The command line `tilewise`. It calls the library through its public headers.
#include <csignal>

#include "cli/program.h"

int main(int count, char** words) {
  // If the reader of a pipe leaves, SIGPIPE would end the program before it removes its temporary
  // files. Without the signal, writing fails and the program ends in the ordinary way.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return tilewise::cli::run_program(count, words);
  } catch (const std::exception&) {
    return tilewise::cli::kFailed;
  }
}
