#include "cli/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "cli/options.h"

namespace tilewise::cli {
namespace {

// The rest of the first line of a file that begins with this word, without ':' and spaces.
std::string entry(const char* path, const std::string& word) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(word)) continue;
    const std::size_t start = line.find_first_not_of(": \t", word.size());
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

int usable_threads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

Machine this_machine() {
  Machine machine;
  utsname names = {};
  if (uname(&names) == 0) {
    machine.system = std::string(names.sysname) + " " + names.release + " " + names.machine;
  }
  machine.processor = entry("/proc/cpuinfo", "model name");
  if (machine.processor.empty()) machine.processor = "an unnamed processor";
  machine.threads = usable_threads();
  machine.memory_bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  return machine;
}

double peak_bytes() {
  const std::string peak = entry("/proc/self/status", "VmHWM");
  if (const auto kibibytes = parse_integer(peak.substr(0, peak.find(' ')))) {
    return 1024 * static_cast<double>(*kibibytes);
  }
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return 1024 * static_cast<double>(usage.ru_maxrss);
}

void reset_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

}  // namespace tilewise::cli
