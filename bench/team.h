// Threads that stand ready, for tasks that start together or often.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace tilewise::cli {

class Team {
 public:
  explicit Team(int threads);
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team();

  [[nodiscard]] int size() const { return static_cast<int>(workers_.size()) + 1; }
  // Calls task(0) here and task(1)… on the other threads, and returns when all have ended. The task
  // must not throw.
  void run(const std::function<void(int)>& task);

 private:
  void work(int worker);

  std::vector<std::thread> workers_;
  const std::function<void(int)>* task_ = nullptr;  // nullptr: end
  std::atomic<std::uint32_t> turn_ = 0;
  std::atomic<int> busy_ = 0;
};

// A barrier: wait() returns in all threads at once, when the last one has called it.
class StartingLine {
 public:
  explicit StartingLine(int runners) : awaited_(runners) {}
  void wait();

 private:
  std::atomic<int> awaited_;
};

}  // namespace tilewise::cli
