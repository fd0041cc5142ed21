#include "parallel/parallel.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <thread>

#include "parallel/pool.h"

namespace tilewise {
namespace {

int allowed_by_affinity() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

// A container's share of the machine: "quota period" in microseconds, or "max".
int allowed_by_control_group() {
  std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "re");
  if (!file) return 1 << 20;
  long long quota = 0, period = 0;
  const int read = std::fscanf(file, "%lld %lld", &quota, &period);
  static_cast<void>(std::fclose(file));
  if (read != 2 || quota <= 0 || period <= 0) return 1 << 20;
  return static_cast<int>(std::max(1LL, (quota + period - 1) / period));
}

int asked_for() {
  const char* text = std::getenv("TILEWISE_NUM_THREADS");
  const long count = text ? std::strtol(text, nullptr, 10) : 0;
  return count > 0 ? static_cast<int>(std::min(count, 4096L)) : 0;
}

}  // namespace

int available_threads() {
  static const int allowed =
      std::max(1, std::min(allowed_by_affinity(), allowed_by_control_group()));
  const int asked = asked_for();
  return asked > 0 ? asked : allowed;
}

void Parallel::prepare() const {
  if (hook_.parallel_for) return;
  try {
    Pool::instance().start(workers_ - 1);
  } catch (const std::exception&) {
    // Without a pool calls run on their own thread.
  }
}

void Parallel::run(std::int64_t tasks, TaskFunction task, void* argument) const {
  if (tasks > 1 && hook_.parallel_for) return hook_.parallel_for(hook_.host, tasks, task, argument);
  if (tasks > 1 && workers_ > 1) {
    Pool* pool = nullptr;
    try {
      pool = &Pool::instance();
    } catch (const std::exception&) {
      pool = nullptr;
    }
    if (pool) return pool->run(tasks, workers_, task, argument);
  }
  for (std::int64_t i = 0; i < tasks; ++i) task(argument, i, 0);
}

}  // namespace tilewise
