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
  // The process's pool, or null without memory for one and when the process ends. A fork's child
  // gets a new one: threads do not survive a fork.
  static Pool* instance();

  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() { stop(); }

  // Makes sure of `threads` threads beside the caller, or as many as the system grants.
  void start(int threads);

  // Joins the threads. Whoever is in `run` ends his job alone, and so does whoever comes later.
  void stop();

  struct Job {
    TaskFunction task = nullptr;
    void* argument = nullptr;
    std::int64_t tasks = 0;
    bool in_order = false;  // see Parallel
  };

  // The caller works too, as worker 0. He waits for those who have begun to help and not for those
  // who are still waking up. A pool that is busy with somebody else's call, or with the one that
  // this call is nested in, is not waited for: the caller then works alone.
  void run(const Job& job, int workers);

 private:
  // Neighbouring tasks. A thread begins with a share that nobody has begun, the same in every call
  // if it can: what it wrote last time is in its cache still. Then it takes what others have left.
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
  // Seats of job_ that are free still, helpers at work in it, and whether the caller sleeps until
  // they are done. A thread that finds no seat touches nothing else, so it may come late.
  std::atomic<std::uint32_t> state_{0};
  std::atomic<std::uint32_t> bell_{0};  // what threads sleep on; its number is how often it rang
  std::atomic<int> awake_{0};           // threads that need no bell
  std::atomic<int> callers_{0};         // calls of `run` at the moment
  std::atomic<int> started_{0};         // size of threads_, to be read without its lock
  std::atomic<bool> stopping_{false};
  std::mutex starting_;  // guards threads_
  std::vector<std::thread> threads_;
};

}  // namespace tilewise
