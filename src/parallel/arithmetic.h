// A guard that sets the floating-point modes in which results are promised: rounding to nearest,
// denormal numbers kept, no traps. Modes belong to a thread, and a caller may have set others, so
// code that computes holds a guard, whose destructor restores the caller's modes. The pool's
// threads need no guard: a thread inherits the modes of the thread that starts it, which holds one.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace tilewise {

class DefaultArithmetic {
 public:
  DefaultArithmetic(const DefaultArithmetic&) = delete;
  DefaultArithmetic& operator=(const DefaultArithmetic&) = delete;

#if defined(__x86_64__)
  // Only SSE's modes are set (11 ns; with x87's 240), because no code here uses the x87 unit.
  DefaultArithmetic() : callers_(_mm_getcsr()) {
    _mm_setcsr(_MM_MASK_MASK);
  }
  ~DefaultArithmetic() {
    _mm_setcsr(callers_);
  }

 private:
  unsigned callers_;
#else
  DefaultArithmetic() {
    std::fegetenv(&callers_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultArithmetic() {
    std::fesetenv(&callers_);
  }

 private:
  std::fenv_t callers_;
#endif
};

}  // namespace tilewise
