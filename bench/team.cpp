#include "bench/team.h"

namespace tilewise::cli {
namespace {

// Spins of about 20 us, so that a team that is called again and again need not be woken.
constexpr int kSpins = 20000;

template <class Condition>
bool spin_until(const Condition& holds) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (holds()) return true;
  }
  return false;
}

}  // namespace

Team::Team(int threads) {
  for (int worker = 1; worker < threads; ++worker) {
    workers_.emplace_back([this, worker] { work(worker); });
  }
}

Team::~Team() {
  task_ = nullptr;
  turn_.fetch_add(1);
  turn_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Team::run(const std::function<void(int)>& task) {
  task_ = &task;
  busy_ = static_cast<int>(workers_.size());
  turn_.fetch_add(1);
  turn_.notify_all();
  task(0);
  const auto is_done = [this] { return busy_.load() == 0; };
  while (!spin_until(is_done)) std::this_thread::yield();
}

void Team::work(int worker) {
  // Starts at turn 0, so that a turn that began before this thread ran is not missed.
  for (std::uint32_t seen = 0;; ++seen) {
    spin_until([&] { return turn_.load() != seen; });
    turn_.wait(seen);
    if (task_ == nullptr) return;
    (*task_)(worker);
    busy_.fetch_sub(1);
  }
}

void StartingLine::wait() {
  awaited_.fetch_sub(1);
  const auto have_all_come = [this] { return awaited_.load() <= 0; };
  while (!spin_until(have_all_come)) std::this_thread::yield();
}

}  // namespace tilewise::cli
