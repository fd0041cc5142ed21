// A TILEWISE_NUM_THREADS that is no number of threads is refused by name, and only in calls that do
// not say how many threads they take.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "robust/alone.h"
#include "robust/calls.h"
#include "robust/process.h"

namespace tilewise::robust {
namespace {

constexpr int kSeconds = 20;
constexpr const char* kVariable = "TILEWISE_NUM_THREADS";

bool is_refused(Call& call, const std::string& text) {
  const tw_status status = call.run(with_threads(0));
  const std::string message = call.message();
  const bool is_told = message.find(kVariable) != std::string::npos &&
                       message.find("'" + text + "'") != std::string::npos;
  if (status == TW_INVALID && is_told) return true;
  static_cast<void>(std::fprintf(stderr, "%s: status %d, '%s'\n", call.name().c_str(),
                                 static_cast<int>(status), message.c_str()));
  return false;
}

TEST(Environment, ANumberOfThreadsThatCannotBeIsRefusedByName) {
  for (const char* text : {"abc", "-3", "4097", "99999999999999999999", "2 "}) {
    setenv(kVariable, text, 1);
    EXPECT_EQ(run_alone(kSeconds, {"refuse-thread-limit", text}), "") << text;
  }
  unsetenv(kVariable);
}

}  // namespace

bool refuse_thread_limit(const Arguments& arguments) {
  for (const Kind kind : kKinds) {
    const auto call = draw_call(kind, 1);
    if (!call->get_ready(with_threads(2)) || !is_refused(*call, arguments.at(0))) return false;
    // A call that says how many threads it takes does not read the environment.
    if (call->run(with_threads(2)) != TW_OK) return false;
  }
  const auto call = draw_call(Kind::kForward, 1);
  setenv(kVariable, "2", 1);
  return call->get_ready(with_threads(0)) && call->run(with_threads(0)) == TW_OK;
}

}  // namespace tilewise::robust
