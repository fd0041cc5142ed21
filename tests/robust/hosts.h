// Threads of an embedder: honest ones, and such as break the rules of tw_parallel.
#pragma once

#include <atomic>
#include <functional>

#include "tilewise/tilewise.h"

namespace tilewise::robust {

class Host {
 public:
  // What stands for tw_parallel's function.
  using Run =
      std::function<void(std::int64_t tasks, const std::function<void(std::int64_t, int)>&)>;

  Host(int workers, Run run);
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  [[nodiscard]] tw_execution execution() const;
  [[nodiscard]] int calls() const { return calls_; }

 private:
  static void parallel_for(void* host, std::int64_t tasks, tw_task task, void* argument);

  Run run_;
  std::atomic<int> calls_{0};
  tw_parallel parallel_{};
};

inline constexpr int kHostWorkers = 3;

// Last task first, workers in turn, all on the caller's thread.
[[nodiscard]] Host::Run backwards();
// Half of the tasks on a thread of its own.
[[nodiscard]] Host::Run on_two_threads();

}  // namespace tilewise::robust
