#include "conformance/sweep.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace tilewise::conformance {
namespace {

// Which cases run, in words that a signal handler can print.
struct Running {
  static constexpr std::size_t kMostJobs = 256, kLongest = 128;
  char lines[kMostJobs][kLongest];
  std::atomic<bool> active[kMostJobs];
};
Running running;

void say(const char* text) {
  // If this fails, a signal handler can do nothing about it.
  [[maybe_unused]] const auto written = write(STDERR_FILENO, text, std::strlen(text));
}

void tell_and_die(int signal) {
  say("\nA bad access ended the program. One of these cases made it:\n");
  for (std::size_t job = 0; job < Running::kMostJobs; ++job) {
    if (!running.active[job]) continue;
    say("  ");
    say(running.lines[job]);
    say("\n");
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

class Announced {
 public:
  Announced(std::size_t job, const Pick& pick) : job_(job) {
    std::strncpy(running.lines[job], replay_line(pick).c_str(), Running::kLongest - 1);
    running.active[job] = true;
  }
  Announced(const Announced&) = delete;
  Announced& operator=(const Announced&) = delete;
  ~Announced() { running.active[job_] = false; }

 private:
  std::size_t job_;
};

Report check_one(const Pick& pick) {
  try {
    const Case drawn = pick.series->draw(pick.seed);
    Report report = pick.series->check(drawn);
    if (!report.ok()) report.fail("of " + drawn.describe());
    return report;
  } catch (const std::exception& error) {
    Report report;
    report.fail(std::string("the check itself failed: ") + error.what());
    return report;
  }
}

}  // namespace

std::string replay_line(const Pick& pick) {
  return "tilewise check --case " + pick.series->name() + " --seed " + std::to_string(pick.seed);
}

void sweep(const std::vector<Pick>& picks, int jobs, const Done& done) {
  for (const int signal : {SIGSEGV, SIGBUS}) std::signal(signal, tell_and_die);
  std::atomic<std::size_t> next{0};
  std::mutex telling;
  const auto work = [&](std::size_t job) {
    for (std::size_t n = next++; n < picks.size(); n = next++) {
      const Announced announced(job, picks[n]);
      const Report report = check_one(picks[n]);
      const std::lock_guard lock(telling);
      done(picks[n], report);
    }
  };
  std::vector<std::thread> others;
  const int most = static_cast<int>(Running::kMostJobs);
  for (int job = 1; job < std::clamp(jobs, 1, most); ++job) {
    others.emplace_back(work, static_cast<std::size_t>(job));
  }
  work(0);
  for (std::thread& each : others) each.join();
  for (const int signal : {SIGSEGV, SIGBUS}) std::signal(signal, SIG_DFL);
}

}  // namespace tilewise::conformance
