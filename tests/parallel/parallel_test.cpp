// Every task runs once, workers never share a number, and nothing goes wrong when calls nest or run
// side by side. pool_test.cpp has forks, and tests/robust hooks that break their rules.
#include "parallel/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

namespace tilewise {
namespace {

// Runs `tasks` tasks. Returns whether each ran once, and no two at a time had one worker number.
bool runs_each_once(const Parallel& parallel, std::int64_t tasks, bool in_order = false) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
  std::vector<std::atomic<int>> busy(static_cast<std::size_t>(parallel.workers()));
  std::atomic<bool> shared{false};
  parallel(
      tasks,
      [&](std::int64_t task, std::int32_t worker) {
        if (busy[static_cast<std::size_t>(worker)].fetch_add(1) != 0) shared = true;
        runs[static_cast<std::size_t>(task)].fetch_add(1);
        busy[static_cast<std::size_t>(worker)].fetch_sub(1);
      },
      in_order);
  for (const auto& count : runs)
    if (count.load() != 1) return false;
  return !shared;
}

TEST(Parallel, RunsEachTaskOnce) {
  for (int threads : {1, 2, 3, 8})
    for (std::int64_t tasks : {0, 1, 2, 7, 1000})
      for (bool in_order : {false, true})
        EXPECT_TRUE(runs_each_once(Parallel(threads), tasks, in_order))
            << threads << " " << tasks << " " << in_order;
}

TEST(Parallel, UsesSeveralThreads) {
  std::atomic<int> waiting{0};
  Parallel(2)(2, [&](std::int64_t, std::int32_t) {
    waiting.fetch_add(1);
    while (waiting.load() < 2) std::this_thread::yield();  // passes only with two at a time
  });
  EXPECT_EQ(waiting.load(), 2);
}

TEST(Parallel, NestedCallsRunInside) {
  std::atomic<int> runs{0};
  const Parallel parallel(3);
  parallel(5, [&](std::int64_t, std::int32_t) {
    parallel(7, [&](std::int64_t, std::int32_t) { runs.fetch_add(1); });
  });
  EXPECT_EQ(runs.load(), 35);
}

TEST(Parallel, CallsSideBySide) {
  std::vector<std::thread> callers;
  std::atomic<int> good{0};
  for (int caller = 0; caller < 6; ++caller)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) good += runs_each_once(Parallel(3), 11) ? 1 : 0;
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(good.load(), 1200);
}

TEST(Parallel, HookTakesTheLibrarysPlace) {
  struct Host {
    int calls = 0;
  } host;
  Hook hook;
  hook.host = &host;
  hook.workers = 2;
  hook.parallel_for = [](void* self, std::int64_t tasks, TaskFunction task, void* argument) {
    ++static_cast<Host*>(self)->calls;
    for (std::int64_t i = tasks; i-- > 0;) task(argument, i, static_cast<std::int32_t>(i % 2));
  };
  EXPECT_TRUE(runs_each_once(Parallel(hook), 9));
  EXPECT_EQ(host.calls, 1);
  EXPECT_EQ(Parallel(hook).workers(), 2);
}

TEST(Parallel, TextSaysHowMany) {
  EXPECT_EQ(threads_asked_for("3"), 3);
  EXPECT_EQ(threads_asked_for("4096"), kMostThreads);
  for (const char* all : {"", "0"}) EXPECT_EQ(threads_asked_for(all), 0) << all;
  for (const char* wrong : {"nonsense", "-3", "-1", "1e3", "2 or so", " ", " 2", "4097",
                            "4294967297", "99999999999999999999", "-99999999999999999999"})
    EXPECT_EQ(threads_asked_for(wrong), -1) << wrong;
}

TEST(Parallel, WithoutALimitAllProcessorsAreUsed) {
  unsetenv("TILEWISE_NUM_THREADS");
  EXPECT_EQ(available_threads(), usable_processors());
}

}  // namespace
}  // namespace tilewise
