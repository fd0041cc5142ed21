// In the copy of the sources that tools/mutants.py makes, each changed place asks here whether it
// is to be wrong. Nothing else includes this file.
#pragma once

#if defined(__CUDACC_RTC__)

namespace tilewise {
__host__ __device__ constexpr bool mutated(int) {
  return false;
}
}  // namespace tilewise

#else

#include <cstdlib>

namespace tilewise {

// The number of the one that is chosen; 0 for none.
inline const int kMutant = [] {
  const char* number = std::getenv("TILEWISE_MUTANT");
  return number != nullptr ? std::atoi(number) : 0;
}();

// What is worked out at compile time stays right, so static_asserts hold.
constexpr bool mutated(int number) {
  return !__builtin_is_constant_evaluated() && kMutant == number;
}

}  // namespace tilewise

#endif
