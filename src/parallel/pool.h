// The library's own threads: started when first needed, awake for a moment after each job, asleep
// between calls, gone at exit.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel/parallel.h"

namespace tilewise {

class Pool {
 public:
  // The process's pool; null if none can be made, or when the process ends. A fork's child gets a
  // new pool, because threads do not survive a fork.
  static Pool* instance();

  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() { stop(); }

  // Starts threads until there are `threads` beside the caller, or as many as the system grants.
  void start(int threads);

  // Stops and joins the threads. Callers in `run`, now or later, do their jobs alone.
  void stop();

  struct Job {
    TaskFunction task = nullptr;
    void* argument = nullptr;
    std::int64_t tasks = 0;
    bool in_order = false;  // see Parallel
  };

  // Runs a job on the caller, who is worker 0, and on helpers. Waits for helpers that have begun,
  // not for threads that are still waking up. If the pool is busy with another call, or with the
  // call that this one is nested in, the caller works alone.
  void run(const Job& job, int workers);

 private:
  // A range of neighbouring tasks. A thread begins with a share that no thread has begun, if it can
  // the one with the same number as in the last call, whose data may still be in its core's cache.
  // Then it takes tasks that other threads have left of their shares.
  static constexpr int kMostShares = 64;
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
    std::atomic<bool> begun{false};
  };

  void share(const Job& job, int workers);
  void wait_for_helpers();

  void serve(int thread);
  int take_seat();
  void leave_seat();
  void rest();
  bool has_news() const;
  bool may_wait_awake() const;

  int first_share(int thread);
  void work(int worker, int thread);

  std::atomic_flag busy_;  // set while some caller's job is running: it guards job_, shares_
  Job job_;
  Share shares_[kMostShares];
  int share_count_ = 0;
  // Free seats of job_ (places for one helper each), the number of helpers at work on job_, and
  // whether the caller sleeps until they are done. A thread reads job_ and shares_ only after it
  // took a seat, so one that wakes up after the job has ended reads neither.
  std::atomic<std::uint32_t> state_{0};
  std::atomic<std::uint32_t> bell_{0};  // what threads sleep on; counts its rings
  std::atomic<int> awake_{0};           // threads that do not sleep
  std::atomic<int> callers_{0};         // calls of `run` at the moment
  std::atomic<int> started_{0};         // size of threads_, to be read without its lock
  std::atomic<bool> stopping_{false};
  std::mutex starting_;  // guards threads_
  std::vector<std::thread> threads_;
};

}  // namespace tilewise
