#include "parallel/pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <new>

namespace tilewise {
namespace {

std::atomic<Pool*> current{nullptr};

// The child's copy of the pool has threads that do not exist and locks that nobody will release. It
// is left alone, and the next call makes another.
void forget_in_child() {
  current.store(nullptr);
}

// Done when the library is loaded, so that no call has to take memory for it. A pool that is not
// told of forks would make a child wait for ever, so without this there is none.
const bool kForksAreWatched = pthread_atfork(nullptr, nullptr, forget_in_child) == 0;

struct AtExit {
  ~AtExit() { delete current.exchange(nullptr); }
} at_exit;

}  // namespace

Pool* Pool::instance() {
  if (!kForksAreWatched) return nullptr;
  Pool* pool = current.load();
  if (pool) return pool;
  Pool* fresh = new (std::nothrow) Pool;
  if (!fresh || current.compare_exchange_strong(pool, fresh)) return fresh;
  delete fresh;
  return pool;
}

Pool::~Pool() {
  {
    const std::lock_guard lock(state_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Pool::start(int threads) {
  const std::lock_guard lock(state_);
  try {
    while (static_cast<int>(threads_.size()) < threads) {
      const int worker = static_cast<int>(threads_.size()) + 1;
      threads_.emplace_back([this, worker] { serve(worker); });
    }
  } catch (const std::exception&) {
    // No more threads to be had. Work is handed out task by task, so fewer do it all the same.
  }
}

void Pool::run(std::int64_t tasks, int workers, TaskFunction task, void* argument) {
  std::int64_t next = 0;
  const Job job{task, argument, tasks, &next};
  if (busy_.test_and_set()) return work(job, 0);

  const int wanted = static_cast<int>(std::min<std::int64_t>(workers, tasks)) - 1;
  start(wanted);
  {
    const std::lock_guard lock(state_);
    helpers_ = std::min(wanted, static_cast<int>(threads_.size()));
    active_ = helpers_;
    job_ = job;
    ++generation_;
  }
  wake_.notify_all();
  work(job, 0);
  {
    std::unique_lock lock(state_);
    done_.wait(lock, [this] { return active_ == 0; });
  }
  busy_.clear();
}

void Pool::serve(int worker) {
  std::uint64_t seen = 0;
  std::unique_lock lock(state_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
    if (stopping_) return;
    seen = generation_;
    if (worker > helpers_) continue;
    const Job job = job_;
    lock.unlock();
    work(job, worker);
    lock.lock();
    if (--active_ == 0) done_.notify_one();
  }
}

void Pool::work(const Job& job, int worker) {
  const std::atomic_ref<std::int64_t> next(*job.next);
  for (std::int64_t i = next.fetch_add(1); i < job.tasks; i = next.fetch_add(1))
    job.task(job.argument, i, worker);
}

}  // namespace tilewise
