#include "parallel/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "parallel/arithmetic.h"
#include "parallel/control_group.h"
#include "parallel/pool.h"

namespace tilewise {
namespace {

int allowed_by_affinity() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

// Checks one parallel_for of an embedder's hook: each task before it runs, because a worker or task
// out of range would write into memory that is not the call's. Tasks run in the default modes,
// because the embedder's threads may have others.
class Watch {
 public:
  Watch(TaskFunction task, void* argument, std::int64_t tasks, std::int32_t workers)
      : task_(task), argument_(argument), tasks_(tasks), workers_(workers) {}

  static void run(void* watch, std::int64_t task, std::int32_t worker) {
    static_cast<Watch*>(watch)->run(task, worker);
  }

  // The breach, if any, once the hook has returned.
  Breach found() const {
    const std::int64_t ran = ran_.load();
    if (breach_.of != Breach::Of::kNone || ran == tasks_) return breach_;
    return {Breach::Of::kCount, ran, tasks_};
  }

 private:
  void run(std::int64_t task, std::int32_t worker) {
    if (task < 0 || task >= tasks_) return report({Breach::Of::kTask, task, tasks_});
    if (worker < 0 || worker >= workers_) return report({Breach::Of::kWorker, worker, workers_});
    const DefaultArithmetic arithmetic;
    task_(argument_, task, worker);
    ran_.fetch_add(1);
  }

  void report(const Breach& breach) {
    if (!reported_.test_and_set()) breach_ = breach;
  }

  TaskFunction task_;
  void* argument_;
  std::int64_t tasks_;
  std::int32_t workers_;
  std::atomic<std::int64_t> ran_{0};
  std::atomic_flag reported_;
  Breach breach_;  // the first to report writes it
};

}  // namespace

int usable_processors() {
  // The first callers compute the number, several at once if need be: a static's guard, held while
  // another thread forks, would stay locked in the child.
  static std::atomic<int> allowed{0};
  if (allowed.load() == 0)
    allowed.store(std::max(1, std::min(allowed_by_affinity(), allowed_by_control_groups(""))));
  return allowed.load();
}

int threads_asked_for(const char* text) {
  char* end = nullptr;
  errno = 0;
  const long count = std::strtol(text, &end, 10);
  const bool is_number = std::isspace(static_cast<unsigned char>(*text)) == 0 && *end == '\0';
  return is_number && errno == 0 && count >= 0 && count <= kMostThreads ? static_cast<int>(count)
                                                                        : -1;
}

const char* thread_limit_text() {
  const char* text = std::getenv("TILEWISE_NUM_THREADS");
  return text ? text : "";
}

int available_threads() {
  // An invalid text is not remembered: the next call reads it again.
  static std::atomic<int> available{0};
  const int known = available.load();
  if (known > 0) return known;
  const int asked = threads_asked_for(thread_limit_text());
  if (asked < 0) return 0;
  available.store(asked > 0 ? asked : usable_processors());
  return available.load();
}

void Parallel::prepare() const {
  if (hook_.parallel_for || workers_ < 2) return;
  if (Pool* pool = Pool::instance()) pool->start(workers_ - 1);
}

void Parallel::run(std::int64_t tasks, bool in_order, TaskFunction task, void* argument) const {
  if (tasks > 1 && hook_.parallel_for) {
    if (breach_.of != Breach::Of::kNone) return;
    Watch watch(task, argument, tasks, workers_);
    hook_.parallel_for(hook_.host, tasks, Watch::run, &watch);
    breach_ = watch.found();
    return;
  }
  Pool* pool = tasks > 1 && workers_ > 1 ? Pool::instance() : nullptr;
  if (pool) return pool->run({task, argument, tasks, in_order}, workers_);
  for (std::int64_t i = 0; i < tasks; ++i) task(argument, i, 0);
}

}  // namespace tilewise
