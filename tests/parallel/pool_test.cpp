// The pool's threads wait awake for a moment and then asleep: no wake-up is lost on the way, and
// neither a fork nor the end of the process finds them at a bad time.
#include "parallel/pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>

#include "parallel/wait.h"
#include "sanitizers.h"

namespace tilewise {
namespace {

constexpr int kThreads = 3;

// Comes back only when `kThreads` workers have been in it at a time.
void meet(const Parallel& parallel) {
  std::atomic<int> present{0};
  parallel(kThreads, [&](std::int64_t, std::int32_t) {
    present.fetch_add(1);
    while (present.load() < kThreads) std::this_thread::yield();
  });
}

bool adds_up(std::int64_t tasks) {
  std::atomic<std::int64_t> sum{0};
  Parallel{kThreads}(tasks, [&](std::int64_t task, std::int32_t) { sum.fetch_add(task); });
  return sum.load() == tasks * (tasks - 1) / 2;
}

// The status of a child that runs `body` and leaves by exit, which joins threads.
int status_of_child(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    const bool good = body();
#if TW_ADDRESS_SANITIZER
    _exit(good ? 0 : 1);  // the leak checker cannot look into stacks that the fork left behind
#else
    std::exit(good ? 0 : 1);
#endif
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

TEST(Pool, ThreadsComeAfterAnyPause) {
  const Parallel parallel(kThreads);
  meet(parallel);
  // Pauses of up to 9/4 of the time that threads wait awake, and then one much longer.
  for (int time = 0; time < 300; ++time) {
    std::this_thread::sleep_for(kWaitAwake * (time % 10) / 4);
    meet(parallel);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  meet(parallel);
}

TEST(Pool, CallerSleepsUntilTheLastHelperIsDone) {
  for (int time = 0; time < 20; ++time) {
    std::atomic<int> present{0}, done{0};
    Parallel{kThreads}(kThreads, [&](std::int64_t, std::int32_t worker) {
      present.fetch_add(1);
      while (present.load() < kThreads) std::this_thread::yield();
      if (worker > 0) std::this_thread::sleep_for(4 * worker * kWaitAwake);
      done.fetch_add(1);
    });
    EXPECT_EQ(done.load(), kThreads);
  }
}

TEST(Pool, ShortJobsFromSeveralThreads) {
  std::atomic<int> good{0};
  const auto call = [&good] {
    for (int time = 0; time < 2000; ++time) good += adds_up(2 + time % 5) ? 1 : 0;
  };
  std::thread callers[] = {std::thread(call), std::thread(call), std::thread(call),
                           std::thread(call)};
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(good.load(), 8000);
}

TEST(Pool, StoppedPoolLeavesItsCallerAlone) {
  Pool pool;
  const auto count = [](void* runs, std::int64_t, std::int32_t) { ++*static_cast<int*>(runs); };
  int runs = 0;
  pool.start(2);
  pool.stop();
  pool.run({count, &runs, 5, false}, kThreads);  // alone: nothing but one thread writes `runs`
  EXPECT_EQ(runs, 5);
}

// The first task of each of two workers. One that waits for the other gives up after 20 seconds.
struct Begun {
  static void task(void* argument, std::int64_t task, std::int32_t worker) {
    Begun& begun = *static_cast<Begun*>(argument);
    std::int64_t none = -1;
    if (!begun.first[worker].compare_exchange_strong(none, task)) return;
    begun.threads.fetch_add(1);
    const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (begun.threads.load() < 2 && std::chrono::steady_clock::now() < late)
      std::this_thread::yield();
  }

  std::atomic<int> threads{0};
  std::atomic<std::int64_t> first[2] = {-1, -1};
};

TEST(Pool, EachThreadBeginsWithItsOwnShare) {
  for (const int threads : {1, 7}) {
    Pool pool;
    pool.start(threads);
    for (int time = 0; time < 20; ++time) {
      Begun begun;
      pool.run({Begun::task, &begun, 8, false}, 2);
      EXPECT_EQ(begun.first[0].load(), 0);
      EXPECT_EQ(begun.first[1].load(), 4) << threads;
    }
    Begun in_order;
    pool.run({Begun::task, &in_order, 8, true}, 2);
    EXPECT_EQ(in_order.first[0].load() + in_order.first[1].load(), 1);
  }
}

TEST(Pool, ForkWhileThreadsAreAwake) {
#if TW_THREAD_SANITIZER
  GTEST_SKIP() << "The thread sanitizer starts no threads after a fork.";
#endif
  for (int time = 0; time < 20; ++time) {
    meet(Parallel(kThreads));
    EXPECT_EQ(status_of_child([] {
                meet(Parallel(kThreads));
                return adds_up(100);
              }),
              0);
    EXPECT_TRUE(adds_up(100));
  }
}

#if !TW_THREAD_SANITIZER && !TW_ADDRESS_SANITIZER
TEST(Pool, ExitWhileThreadsAreAwake) {
  for (int time = 0; time < 20; ++time)
    EXPECT_EQ(status_of_child([] {
                meet(Parallel(kThreads));
                return true;
              }),
              0);
}

// A thread that the program never joins goes on calling while the process ends.
TEST(Pool, ExitInTheMiddleOfCalls) {
  for (int time = 0; time < 20; ++time)
    EXPECT_EQ(status_of_child([] {
                static std::atomic<int> calls{0};
                std::thread([] {
                  for (;; ++calls) adds_up(10);
                }).detach();
                while (calls.load() < 5) std::this_thread::yield();
                return true;
              }),
              0);
}
#endif

}  // namespace
}  // namespace tilewise
