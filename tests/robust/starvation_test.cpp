// Memory and threads that cannot be had, at every point where the library asks for them: the call
// is right with fewer threads, or fails with a sentence. It neither ends the process nor prints,
// and what it leaves behind works.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>

#include "robust/alone.h"
#include "robust/calls.h"
#include "robust/process.h"
#include "robust/shortage.h"
#include "sanitizers.h"

namespace tilewise::robust {
namespace {

constexpr std::uint64_t kSeed = 5;
constexpr int kThreads = 4;

bool complain(const std::string& what) {
  static_cast<void>(std::fprintf(stderr, "%s\n", what.c_str()));
  return false;
}

// The first thing that a process asks of the library.
struct Action {
  std::string name;
  Kind kind;
};

std::vector<Action> all_actions() {
  std::vector<Action> actions{{"prepare", Kind::kForward}, {"explain", Kind::kBackward}};
  for (const Kind kind : kKinds) actions.push_back({name_of(kind), kind});
  return actions;
}

tw_status act(const Action& action, Call& call, char* text, std::size_t bytes) {
  const tw_execution where = with_threads(kThreads);
  if (action.name == "prepare") return call.prepare(where);
  if (action.name == "explain") return call.explain(where, text, bytes);
  return call.run(where);
}

bool writes(Call& call, int threads, const std::vector<unsigned char>& expected) {
  call.spoil_outputs();
  return call.run(with_threads(threads)) == TW_OK && call.wrote(expected);
}

// Whether later calls work once nothing is refused any more.
bool recovers(Call& call, const std::vector<unsigned char>& expected) {
  if (!writes(call, kThreads, expected)) return complain("a later call went wrong");
#if TW_THREAD_SANITIZER
  return true;  // it starts no threads after a fork
#else
  const std::string ended = run_in_child(10, [&] { return writes(call, kThreads, expected); });
  return ended.empty() || complain("a later call in a fork's child: " + ended);
#endif
}

constexpr int kWrong = 1, kNothingRefused = 3;

int starve_at(const Action& action, const Shortage& shortage) {
  const auto call = draw_call(action.kind, kSeed);
  char text[4096] = "";
  if (!call->get_ready(with_threads(kThreads))) return kWrong;
  Silence silence;
  begin_shortage(shortage);
  const tw_status status = act(action, *call, text, sizeof text);
  const long refused = end_shortage();
  const long printed = silence.end();
  const bool wrote = action.name == name_of(action.kind);
  const std::vector<unsigned char> results = call->results();

  if (printed > 0) return complain("the library printed") ? 0 : kWrong;
  if (status != TW_OK && (status != TW_FAILED || !*call->message()))
    return complain("status " + std::to_string(status) + ": " + call->message()) ? 0 : kWrong;
  call->spoil_outputs();
  if (call->run(with_threads(1)) != TW_OK) return kWrong;
  const std::vector<unsigned char> expected = call->results();
  if (wrote && status == TW_OK && results != expected)
    return complain("the results are wrong") ? 0 : kWrong;
  if (!recovers(*call, expected)) return kWrong;
  return refused > 0 ? 0 : kNothingRefused;
}

}  // namespace

bool starve(const Arguments& arguments) {
  if (arguments.size() != 3) return complain("starve takes three arguments");
  for (const Action& action : all_actions()) {
    if (action.name != arguments[0]) continue;
    Shortage shortage{arguments[1] == "memory" ? Of::kMemory : Of::kThreads, 0,
                      arguments[2] == "for-good"};
    for (; shortage.after < 300; ++shortage.after) {
      const pid_t child = fork();
      // By exit, so that threads are joined and leaks looked for.
      if (child == 0) std::exit(starve_at(action, shortage));
      const std::string ended = wait_for(child);
      if (ended == "exit status " + std::to_string(kNothingRefused)) {
        return shortage.after > 0 || complain("there was nothing to refuse");
      }
      if (!ended.empty())
        return complain("request " + std::to_string(shortage.after) + ": " + ended);
    }
    return complain("there was no end of requests");
  }
  return complain("there is no action " + arguments[0]);
}

bool call_cold(const Arguments&) {
  for (const Kind kind : kKinds) {
    const auto call = draw_call(kind, kSeed);
    const long before = memory_requests();
    const bool ready = call->get_ready(with_threads(1));
    const long asked = memory_requests();
    const tw_status refused = call->run_refused(with_threads(1));
    const tw_status status = call->run(with_threads(1));
    if (!ready || refused != TW_INVALID || status != TW_OK)
      return complain(call->name() + ": " + call->message());
    // get_ready may allocate once: the workspace, which belongs to the test.
    if (asked - before > 1) return complain("tw_workspace took memory for " + call->name());
    if (memory_requests() != asked) return complain(call->name() + " took memory");
  }
  return memory_requests() > 0 || complain("nothing is counted at all");
}

namespace {

TEST(Starvation, EveryRequestForMemoryMayBeRefused) {
  for (const Action& action : all_actions()) {
    for (const char* how : {"once", "for-good"})
      EXPECT_EQ(run_alone(60, {"starve", action.name, "memory", how}), "") << action.name << how;
  }
}

TEST(Starvation, EveryThreadMayBeRefused) {
  for (const Action& action : all_actions()) {
    for (const char* how : {"once", "for-good"})
      EXPECT_EQ(run_alone(60, {"starve", action.name, "threads", how}), "") << action.name << how;
  }
}

TEST(Starvation, AFirstCallOnOneThreadTakesNoMemory) {
  if (!sees_malloc()) GTEST_SKIP() << "The sanitizer's own malloc cannot be counted.";
  EXPECT_EQ(run_alone(10, {"call-cold"}), "");
}

}  // namespace
}  // namespace tilewise::robust
