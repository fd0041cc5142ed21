// How a command ends early: an exit status and one sentence for the person at the terminal.
#pragma once

#include <stdexcept>
#include <string>

namespace tilewise::cli {

enum ExitStatus : int {
  kOk = 0,
  kFailed = 1,       // a check failed, or the machine did
  kUsage = 2,        // wrong usage or bad input
  kUnsupported = 3,  // a valid request that nothing here can run
};

class Failure : public std::runtime_error {
 public:
  Failure(ExitStatus status, const std::string& sentence)
      : std::runtime_error(sentence), status_(status) {}
  [[nodiscard]] ExitStatus status() const { return status_; }

 private:
  ExitStatus status_;
};

// Thrown when the reader of standard output has closed it, so that nothing can be printed.
class ReaderGone : public std::exception {};

}  // namespace tilewise::cli
