// The tests, or one scenario of alone.h: --alone SECONDS NAME ARGUMENTS.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "robust/alone.h"

namespace {

struct Scenario {
  const char* name;
  bool (*run)(const tilewise::robust::Arguments&);
};

constexpr Scenario kScenarios[] = {
    {"starve", tilewise::robust::starve},
    {"call-cold", tilewise::robust::call_cold},
    {"start-threads-under-flush", tilewise::robust::start_threads_under_flush},
    {"fork-cold", tilewise::robust::fork_cold},
    {"refuse-thread-limit", tilewise::robust::refuse_thread_limit},
};

}  // namespace

int main(int count, char** words) {
  if (count < 4 || std::string(words[1]) != "--alone") {
    testing::InitGoogleTest(&count, words);
    return RUN_ALL_TESTS();
  }
  alarm(static_cast<unsigned>(std::atoi(words[2])));
  for (const Scenario& scenario : kScenarios) {
    if (scenario.name == std::string(words[3]))
      return scenario.run({words + 4, words + count}) ? 0 : 1;
  }
  static_cast<void>(std::fprintf(stderr, "There is no scenario %s.\n", words[3]));
  return 2;
}
