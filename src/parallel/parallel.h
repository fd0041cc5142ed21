// Threads. A call gets a Parallel: the library's pool, or the embedder's threads behind a hook.
#pragma once

#include <cstdint>
#include <type_traits>

namespace tilewise {

using TaskFunction = void (*)(void* argument, std::int64_t task, std::int32_t worker);

// Calls task(argument, t, worker) for all t in [0, tasks) and returns when all are done; a worker
// in [0, workers) is in use once at a time.
struct Hook {
  void (*parallel_for)(void* host, std::int64_t tasks, TaskFunction task, void* argument) = nullptr;
  void* host = nullptr;
  std::int32_t workers = 0;
};

// How a hook broke its rules: by a task or worker out of range, which then did not run, or by a
// wrong number of tasks.
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

  // The first breach of the hook so far. After one nothing more is run, and what was computed is
  // worth nothing.
  const Breach& breach() const { return breach_; }

  // Starts the threads that a call would otherwise start on the way.
  void prepare() const;

  // body(task, worker), which must not throw, for every task; short of threads, one after another.
  // Each of the pool's threads begins with a share of neighbouring tasks, the same in every call
  // where all threads help; or, `in_order`, all take the next one that is left.
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

// What this process may use by its affinity and its control group's quota, when first asked. At
// least 1.
int usable_processors();

// More threads than this are a mistake.
inline constexpr int kMostThreads = 4096;

// How many threads a text asks for: 0, or no text, for all; -1 when it is no such number.
int threads_asked_for(const char* text);

// The text of TILEWISE_NUM_THREADS, "" without.
const char* thread_limit_text();

// What TILEWISE_NUM_THREADS says when first asked, else one thread a processor; 0 when it says what
// cannot be.
int available_threads();

}  // namespace tilewise
