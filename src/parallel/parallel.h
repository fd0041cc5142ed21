// How a call runs tasks: on the threads of the library's pool, or on an embedder's behind a hook.
#pragma once

#include <cstdint>
#include <type_traits>

namespace tilewise {

using TaskFunction = void (*)(void* argument, std::int64_t task, std::int32_t worker);

// An embedder's threads. parallel_for must call task(argument, t, worker) once for each t in [0,
// tasks) and return when all are done. No two tasks may run at once with the same worker, which
// must be in [0, workers). Breach lists what is checked of this.
struct Hook {
  void (*parallel_for)(void* host, std::int64_t tasks, TaskFunction task, void* argument) = nullptr;
  void* host = nullptr;
  std::int32_t workers = 0;
};

// How a hook broke its rules: by a task or worker out of range, in which case that task is not run,
// or by a wrong number of tasks run.
struct Breach {
  enum class Of { kNone, kTask, kWorker, kCount };

  Of of = Of::kNone;
  std::int64_t given = 0, allowed = 0;  // the number that was wrong; it must be below, or for
                                        // kCount the same as `allowed`
};

class Parallel {
 public:
  explicit Parallel(int threads) : workers_(threads) {}
  explicit Parallel(const Hook& hook) : hook_(hook), workers_(hook.workers) {}

  int workers() const { return workers_; }
  bool is_embedders() const { return hook_.parallel_for != nullptr; }

  // The hook's first breach so far. After a breach the hook is not called again, and results are
  // invalid.
  const Breach& breach() const { return breach_; }

  // Starts the pool's threads now, which a call would otherwise start.
  void prepare() const;

  // Calls body(task, worker), which must not throw, for every task; without other threads, one
  // after another. Each thread of the pool begins with a share of neighbouring tasks, the same
  // share in each call of as many tasks if all threads help. With `in_order`, every thread takes
  // the next task that is left.
  template <class Body>
  void operator()(std::int64_t tasks, Body&& body, bool in_order = false) const {
    using Plain = std::remove_reference_t<Body>;
    run(
        tasks, in_order,
        [](void* argument, std::int64_t task, std::int32_t worker) {
          (*static_cast<Plain*>(argument))(task, worker);
        },
        &body);
  }

 private:
  void run(std::int64_t tasks, bool in_order, TaskFunction task, void* argument) const;

  Hook hook_;
  int workers_;
  mutable Breach breach_;  // a call has a Parallel of its own
};

// The processors that this process may use by its affinity and its control group's quota, at the
// first call. At least 1.
int usable_processors();

// The most threads that anyone may ask for; more are taken for a mistake.
inline constexpr int kMostThreads = 4096;

// The number of threads that a text asks for; 0, or an empty text, asks for all. -1 if the text is
// no number from 0 to kMostThreads.
int threads_asked_for(const char* text);

// The text of TILEWISE_NUM_THREADS, "" if it is not set.
const char* thread_limit_text();

// The threads that TILEWISE_NUM_THREADS asks for at the first call, or one a processor; 0 if its
// text is invalid.
int available_threads();

}  // namespace tilewise
