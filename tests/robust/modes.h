// The caller's floating-point modes, to set, to read and to have back.
#pragma once

#include <array>
#include <cfenv>
#include <string>

namespace tilewise::robust {

struct Setting {
  const char* name;
  int rounding = FE_TONEAREST;
  bool flushes = false;  // denormal numbers to zero, coming in and going out
  bool traps = false;    // on invalid operations, division by zero and overflow
};
// What this machine lets a program set.
[[nodiscard]] const std::array<Setting, 6>& all_settings();

// Everything that a thread's modes are made of, exception flags included.
using Modes = std::array<unsigned, 3>;
[[nodiscard]] Modes modes();

// Sets, and restores at the end.
class Under {
 public:
  explicit Under(const Setting& setting);
  ~Under() { std::fesetenv(&before_); }
  Under(const Under&) = delete;
  Under& operator=(const Under&) = delete;

 private:
  std::fenv_t before_;
};

}  // namespace tilewise::robust
