// The library's own threads: started when first needed, asleep between calls, gone at exit.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel/parallel.h"

namespace tilewise {

class Pool {
 public:
  // The process's pool, or null without memory for one. A fork's child gets a new one: threads do
  // not survive a fork.
  static Pool* instance();

  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  // Makes sure of `threads` threads beside the caller, or as many as the system grants.
  void start(int threads);

  // The caller works too, as worker 0. A pool that is busy with somebody else's call, or with the
  // one that this call is nested in, is not waited for: the caller then works alone.
  void run(std::int64_t tasks, int workers, TaskFunction task, void* argument);

 private:
  struct Job {
    TaskFunction task = nullptr;
    void* argument = nullptr;
    std::int64_t tasks = 0;
    std::int64_t* next = nullptr;  // the first task that nobody has taken; in the caller's frame
  };

  void serve(int worker);
  static void work(const Job& job, int worker);

  std::atomic_flag busy_;  // set while some caller's job is running
  std::mutex state_;       // guards everything below
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  Job job_;
  std::uint64_t generation_ = 0;  // of job_: how a thread knows that it is new
  int helpers_ = 0;               // threads that job_ wants: those numbered 1 .. helpers_
  int active_ = 0;                // of those, how many have not finished
  bool stopping_ = false;
};

}  // namespace tilewise
