// Other processes: a copy of this one, or this program again from its first instruction. Each has
// so many seconds, so that one that hangs is a failure and not a wait.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace tilewise::robust {

// Runs `body` in a fork's child, which ends without exit's handlers. Returns nothing if `body`
// returned true, otherwise how the child ended.
std::string run_in_child(int seconds, const std::function<bool()>& body);

// Runs a scenario of `alone.h`. Returns nothing if it ended well, otherwise how it ended and what
// it said.
std::string run_alone(int seconds, const std::vector<std::string>& arguments);

struct Scenario {
  const char* name;
  bool (*run)(const std::vector<std::string>& arguments);
};

// What `main` does: runs the tests, or with --alone SECONDS NAME ARGUMENTS one of the scenarios.
int run_tests_or_one(int count, char** words, std::span<const Scenario> scenarios);

// Waits for a child and returns how it ended; nothing for success.
std::string wait_for(int child);

// Until `end`, standard output and standard error go into a file without a name. `end` returns the
// number of bytes written. Neither allocates memory.
class Silence {
 public:
  Silence();
  long end();

 private:
  int file_, output_, error_;
};

}  // namespace tilewise::robust
