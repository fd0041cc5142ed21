#include "robust/modes.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace tilewise::robust {
namespace {

constexpr int kTraps = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW;

// Does nothing on other machines, for which the C library has no such function.
void flush_denormals() {
#if defined(__x86_64__)
  constexpr unsigned kOutputs = 1u << 15, kInputs = 1u << 6;
  _mm_setcsr(_mm_getcsr() | kOutputs | kInputs);
#endif
}

}  // namespace

const std::array<Setting, 6>& all_settings() {
  static constexpr std::array<Setting, 6> kAll{{{.name = "the default"},
                                                {.name = "flush to zero", .flushes = true},
                                                {.name = "upward", .rounding = FE_UPWARD},
                                                {.name = "downward", .rounding = FE_DOWNWARD},
                                                {.name = "to zero", .rounding = FE_TOWARDZERO},
                                                {.name = "traps", .traps = true}}};
  return kAll;
}

Modes modes() {
  Modes modes{static_cast<unsigned>(std::fegetround()), 0, 0};
#if defined(__x86_64__)
  unsigned short control = 0;
  __asm__ volatile("fnstcw %0" : "=m"(control));
  modes[1] = _mm_getcsr();
  modes[2] = control;
#else
  modes[1] = static_cast<unsigned>(std::fetestexcept(FE_ALL_EXCEPT));
  modes[2] = static_cast<unsigned>(fegetexcept());
#endif
  return modes;
}

Under::Under(const Setting& setting) {
  std::fegetenv(&before_);
  std::fesetenv(FE_DFL_ENV);
  std::fesetround(setting.rounding);
  if (setting.flushes) flush_denormals();
  if (setting.traps) feenableexcept(kTraps);
}

}  // namespace tilewise::robust
