#include "backends/cuda/compiler/at_once.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace tilewise::cuda {

namespace {

// Memory that this process may still allocate, by the machine's or the container's limit; 0 if
// unknown.
double free_bytes() {
  double least = 0;
  const auto take = [&](double bytes) { least = least == 0 ? bytes : std::min(least, bytes); };
  std::string line;
  double kilobytes = 0;
  for (std::ifstream file("/proc/meminfo"); std::getline(file, line);)
    if (std::sscanf(line.c_str(), "MemAvailable: %lf kB", &kilobytes) == 1) take(1024 * kilobytes);
  double allowed = 0, taken = 0;
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> allowed &&
      std::ifstream("/sys/fs/cgroup/memory.current") >> taken)
    take(std::max(allowed - taken, 1.0));
  return least;
}

}  // namespace

std::size_t most_at_once(double bytes) {
  constexpr double kOfOne = 400e6;
  return bytes == 0 ? SIZE_MAX : static_cast<std::size_t>(std::clamp(bytes / kOfOne, 1.0, 1e6));
}

void at_once(std::size_t count, const std::function<void(std::size_t)>& body) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) body(i);
  };
  const std::size_t processors = std::max(1U, std::thread::hardware_concurrency());
  std::size_t wanted = std::min(count, processors);
  if (wanted > 1) wanted = std::min(wanted, most_at_once(free_bytes()));
  std::vector<std::thread> others;
  try {
    others.reserve(wanted);
    while (others.size() + 1 < wanted) others.emplace_back(work);
  } catch (const std::exception&) {
    // No further thread could be started; those that run do all the work.
  }
  work();
  for (std::thread& other : others) other.join();
}

}  // namespace tilewise::cuda
