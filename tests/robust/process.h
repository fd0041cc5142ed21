// Other processes: a copy of this one, or this program again from its first instruction. Each has
// so many seconds, so that one that hangs is a failure and not a wait.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace tilewise::robust {

// Nothing when `body` returned true in a fork's child, or how it ended. The child ends without
// exit's handlers.
std::string run_in_child(int seconds, const std::function<bool()>& body);

// Nothing when a scenario of `alone.h` ended well, or how it ended and what it said.
std::string run_alone(int seconds, const std::vector<std::string>& arguments);

struct Scenario {
  const char* name;
  bool (*run)(const std::vector<std::string>& arguments);
};

// What `main` does: runs the tests, or with --alone SECONDS NAME ARGUMENTS one of the scenarios.
int run_tests_or_one(int count, char** words, std::span<const Scenario> scenarios);

// How a child that was waited for ended; nothing for success.
std::string wait_for(int child);

// What is written to standard output and standard error from here on goes into a file without a
// name, until `end`, which gives the number of bytes. Neither takes memory.
class Silence {
 public:
  Silence();
  long end();

 private:
  int file_, output_, error_;
};

}  // namespace tilewise::robust
