#include "parallel/pool.h"

#include <pthread.h>

#include <algorithm>
#include <climits>
#include <exception>
#include <new>

#include "parallel/wait.h"

namespace tilewise {
namespace {

// The fields of Pool::state_. A helper's worker number is that of the seat it takes.
constexpr std::uint32_t kHelper = 1, kHelpers = 0x7fff, kCallerSleeps = 0x8000, kSeat = 0x10000;
constexpr int kMostSeats = 0x7fff;

std::atomic<Pool*> current{nullptr};
std::atomic<bool> leaving{false};

// Drops the pool in a fork's child: the child's copy has threads that do not exist and locks that
// nobody will release. The child's next call makes a new pool.
void forget_in_child() {
  current.store(nullptr);
}

// Registers forget_in_child when the library is loaded and not in a call, because registering may
// allocate memory. If this fails, no pool is made: a fork's child would wait for ever for the
// threads of its copy of the pool.
const bool kForksAreWatched = pthread_atfork(nullptr, nullptr, forget_in_child) == 0;

struct AtExit {
  // The pool's memory stays: threads of the program may still be in a call.
  ~AtExit() {
    leaving.store(true);
    if (Pool* pool = current.load()) pool->stop();
  }
} at_exit;

}  // namespace

Pool* Pool::instance() {
  if (!kForksAreWatched || leaving.load()) return nullptr;
  Pool* pool = current.load();
  if (pool) return pool;
  Pool* fresh = new (std::nothrow) Pool;
  if (!fresh || current.compare_exchange_strong(pool, fresh)) return fresh;
  delete fresh;
  return pool;
}

void Pool::start(int threads) {
  if (started_.load() >= threads) return;
  const std::lock_guard lock(starting_);
  if (stopping_.load()) return;
  try {
    while (static_cast<int>(threads_.size()) < threads) {
      const int thread = static_cast<int>(threads_.size()) + 1;
      threads_.emplace_back([this, thread] { serve(thread); });
      started_.store(static_cast<int>(threads_.size()));
    }
  } catch (const std::exception&) {
    // The system grants no more threads. Tasks are handed out one by one, so fewer threads suffice.
  }
}

void Pool::stop() {
  const std::lock_guard lock(starting_);
  stopping_.store(true);
  bell_.fetch_add(1);
  wake(bell_, INT_MAX);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Pool::run(const Job& job, int workers) {
  callers_.fetch_add(1);
  if (busy_.test_and_set()) {
    for (std::int64_t i = 0; i < job.tasks; ++i) job.task(job.argument, i, 0);
  } else {
    share(job,
          static_cast<int>(std::clamp(job.tasks, INT64_C(1),
                                      std::min(std::int64_t{workers}, kMostSeats + INT64_C(1)))));
    work(0, 0);
    wait_for_helpers();
    busy_.clear();
  }
  callers_.fetch_sub(1);
}

void Pool::share(const Job& job, int workers) {
  int helpers = workers - 1;
  start(helpers);
  job_ = job;
  share_count_ = job.in_order ? 1 : std::min(workers, kMostShares);
  for (int n = 0; n < share_count_; ++n) {
    shares_[n].next.store(job.tasks * n / share_count_);
    shares_[n].end = job.tasks * (n + 1) / share_count_;
    shares_[n].begun.store(n == 0);  // by the caller
  }
  helpers = std::min(helpers, started_.load());
  state_.store(static_cast<std::uint32_t>(helpers) * kSeat);
  // A thread that goes to sleep first lowers awake_, then looks for free seats. This function sets
  // the seats first and then reads awake_. So either that thread sees a seat, or it is counted as
  // asleep here and woken.
  const int asleep = helpers - awake_.load();
  if (asleep <= 0) return;
  bell_.fetch_add(1);
  wake(bell_, asleep);
}

void Pool::wait_for_helpers() {
  state_.fetch_and(kHelpers);
  const auto done = [this] { return (state_.load() & kHelpers) == 0; };
  if (!wait_awake(done, [this] { return may_wait_awake(); })) {
    for (std::uint32_t seen = state_.load(); (seen & kHelpers) != 0; seen = state_.load())
      if (seen & kCallerSleeps || state_.compare_exchange_strong(seen, seen | kCallerSleeps))
        sleep_while(state_, seen | kCallerSleeps);
  }
  state_.store(0);
}

void Pool::serve(int thread) {
  awake_.fetch_add(1);
  while (!stopping_.load()) {
    const int worker = take_seat();
    if (worker == 0) {
      rest();
    } else {
      work(worker, thread);
      leave_seat();
    }
  }
}

// Takes a free seat and returns its worker number, or 0 if no seat is free.
int Pool::take_seat() {
  std::uint32_t seen = state_.load();
  while (seen >= kSeat)
    if (state_.compare_exchange_weak(seen, seen - kSeat + kHelper))
      return static_cast<int>(seen / kSeat);
  return 0;
}

void Pool::leave_seat() {
  if (state_.fetch_sub(kHelper) == (kHelper | kCallerSleeps)) wake(state_, 1);
}

void Pool::rest() {
  const auto news = [this] { return has_news(); };
  if (wait_awake(news, [this] { return may_wait_awake(); })) return;
  const std::uint32_t rung = bell_.load();
  awake_.fetch_sub(1);
  if (!has_news()) sleep_while(bell_, rung);
  awake_.fetch_add(1);
}

bool Pool::has_news() const {
  return state_.load() >= kSeat || stopping_.load();
}

// Whether a thread may wait awake: only if all awake threads and callers have a processor each.
bool Pool::may_wait_awake() const {
  return awake_.load() + std::max(1, callers_.load()) <= usable_processors();
}

// The share that a thread begins with: the first that no thread has begun, counted from share
// `thread` % share_count_. Two threads may want the same share, because the pool may have more
// threads than the call has shares.
int Pool::first_share(int thread) {
  for (int n = 0; n < share_count_; ++n)
    if (!shares_[(thread + n) % share_count_].begun.exchange(true))
      return (thread + n) % share_count_;
  return 0;
}

void Pool::work(int worker, int thread) {
  const int first = thread == 0 ? 0 : first_share(thread);
  for (int n = 0; n < share_count_; ++n) {
    Share& share = shares_[(first + n) % share_count_];
    for (std::int64_t i = share.next.fetch_add(1); i < share.end; i = share.next.fetch_add(1))
      job_.task(job_.argument, i, worker);
  }
}

}  // namespace tilewise
