#include "cli/core/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "cli/core/number.h"

namespace tilewise::cli {
namespace {

// The text behind `word`, ':' and spaces, in the first line of a file that begins with `word`.
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

// The number of cores: hardware threads of one core have the same (physical id, core id).
int count_cores() {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> cores;
  std::string package;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("physical id")) package = line;
    if (line.starts_with("core id")) cores.insert(package + line);
  }
  return cores.empty() ? static_cast<int>(std::thread::hardware_concurrency())
                       : static_cast<int>(cores.size());
}

std::vector<std::string> known_features() {
  static const std::set<std::string> known{"fma",         "avx2",        "f16c",       "avx512f",
                                           "avx512_bf16", "avx512_fp16", "amx_tile",   "amx_bf16",
                                           "amx_int8",    "asimd",       "asimdhp",    "bf16",
                                           "sve",         "sve2",        "avx512_vnni"};
  std::string all = entry("/proc/cpuinfo", "flags");
  if (all.empty()) all = entry("/proc/cpuinfo", "Features");
  std::istringstream words(all);
  std::vector<std::string> features;
  for (std::string word; words >> word;) {
    if (known.count(word) > 0) features.push_back(word);
  }
  return features;
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
  machine.features = known_features();
  machine.cores = count_cores();
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
