// An embedder's parallel_for that breaks its rules: the call fails with a sentence, and no task
// runs where it would touch memory that is not the call's.
#include <gtest/gtest.h>

#include <climits>

#include "robust/calls.h"
#include "robust/hosts.h"

namespace tilewise::robust {
namespace {

using Task = std::function<void(std::int64_t, int)>;

void expect_failure(const Host::Run& run, const std::string& part) {
  for (const Kind kind : kKinds) {
    const auto call = draw_call(kind, 11);
    Host wrong(kHostWorkers, run), right(kHostWorkers, backwards());
    ASSERT_TRUE(call->get_ready(wrong.execution())) << call->message();
    EXPECT_EQ(call->run(wrong.execution()), TW_FAILED) << call->name();
    const std::string message = call->message();
    EXPECT_EQ(message.rfind("execution.parallel ran " + part, 0), 0u) << message;
    EXPECT_EQ(wrong.calls(), 1) << call->name() << " went on after the first breach";
    EXPECT_EQ(results_of(*call, right.execution()), results_of(*call, with_threads(1)));
  }
}

Host::Run as_worker(int worker) {
  return [worker](std::int64_t tasks, const Task& task) {
    for (std::int64_t t = 0; t < tasks; ++t) task(t, t == tasks / 2 ? worker : 0);
  };
}

TEST(Hook, AWorkerOutOfRangeIsAFailure) {
  for (const int worker : {kHostWorkers, -1, 1 << 20, INT_MAX, INT_MIN})
    expect_failure(as_worker(worker), "a task as worker " + std::to_string(worker) + " of 3: ");
}

TEST(Hook, ATaskOutOfRangeIsAFailure) {
  for (const std::int64_t stray : {INT64_C(-1), INT64_C(1) << 40, INT64_MAX, INT64_MIN}) {
    const auto run = [stray](std::int64_t tasks, const Task& task) {
      for (std::int64_t t = 0; t < tasks; ++t) task(t, 0);
      task(stray, 0);
    };
    expect_failure(run, "task " + std::to_string(stray) + " of ");
  }
  expect_failure([](std::int64_t tasks, const Task& task) { task(tasks, 0); }, "task ");
}

TEST(Hook, AWrongNumberOfTasksIsAFailure) {
  const auto none = [](std::int64_t, const Task&) {};
  const auto all_but_one = [](std::int64_t tasks, const Task& task) {
    for (std::int64_t t = 1; t < tasks; ++t) task(t, 0);
  };
  const auto one_twice = [](std::int64_t tasks, const Task& task) {
    for (std::int64_t t = 0; t < tasks; ++t) task(t, 0);
    task(0, 0);
  };
  expect_failure(none, "0 of ");
  expect_failure(all_but_one, "");
  expect_failure(one_twice, "");
}

TEST(Hook, ExplainFailsAlike) {
  const auto call = draw_call(Kind::kForward, 11);
  const Host wrong(kHostWorkers, as_worker(7));
  char text[4096];
  EXPECT_EQ(call->explain(wrong.execution(), text, sizeof text), TW_FAILED) << text;
  EXPECT_EQ(std::string(call->message()).rfind("execution.parallel ran a task as worker 7", 0), 0u)
      << call->message();
}

}  // namespace
}  // namespace tilewise::robust
