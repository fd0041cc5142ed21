// The machine that measurements belong to, and the most memory that this process has used.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tilewise::cli {

struct Machine {
  std::string processor, system;
  std::vector<std::string> features;  // instruction sets for vectors and matrices, by /proc/cpuinfo
  int cores = 0;                      // of the machine
  int threads = 0;                    // that this process may use
  double memory_bytes = 0;
};
[[nodiscard]] Machine this_machine();

// The most memory that this process had resident at once since the last reset_peak() or, where the
// system does not allow a reset, since the process began.
[[nodiscard]] double peak_bytes();
void reset_peak();

}  // namespace tilewise::cli
