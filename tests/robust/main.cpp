// The tests, or one scenario of alone.h: --alone SECONDS NAME ARGUMENTS.
#include "robust/alone.h"
#include "robust/process.h"

namespace tilewise::robust {
namespace {

constexpr Scenario kScenarios[] = {
    {"starve", starve},
    {"call-cold", call_cold},
    {"start-threads-under-flush", start_threads_under_flush},
    {"fork-cold", fork_cold},
    {"refuse-thread-limit", refuse_thread_limit},
};

}  // namespace
}  // namespace tilewise::robust

int main(int count, char** words) {
  return tilewise::robust::run_tests_or_one(count, words, tilewise::robust::kScenarios);
}
