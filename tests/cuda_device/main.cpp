// The tests, or one scenario of alone.h: --alone SECONDS NAME ARGUMENTS.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cuda_device/alone.h"

namespace {

struct Scenario {
  const char* name;
  bool (*run)(const tilewise::gpu::Arguments&);
};

constexpr Scenario kScenarios[] = {
    {"wait-for-nothing", tilewise::gpu::wait_for_nothing},
    {"keep-contexts", tilewise::gpu::keep_contexts},
    {"tell-devices-apart", tilewise::gpu::tell_devices_apart},
    {"capture-cold", tilewise::gpu::capture_cold},
    {"poison", tilewise::gpu::poison},
    {"reset", tilewise::gpu::reset},
    {"fill-memory", tilewise::gpu::fill_memory},
    {"fork-early", tilewise::gpu::fork_early},
    {"fork-late", tilewise::gpu::fork_late},
    {"fail-one", tilewise::gpu::fail_one},
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
