// The few functions and constants that core takes from its compiler, for float and double alike.
#pragma once

#include "core/base.h"

namespace tilewise::core {

template <class T>
TW_HD constexpr T infinity() {
  return static_cast<T>(__builtin_bit_cast(double, uint64{0x7FF0000000000000}));
}

template <class T>
TW_HD constexpr T not_a_number() {
  return static_cast<T>(__builtin_bit_cast(double, uint64{0x7FF8000000000000}));
}

template <class T>
TW_HD constexpr T log2e() {
  return static_cast<T>(1.44269504088896340735992468100189214);
}

template <class T>
TW_HD constexpr T ln2() {
  return static_cast<T>(0.693147180559945309417232121458176568);
}

// The largest finite value.
template <class T>
TW_HD constexpr T largest() {
  return sizeof(T) == 4 ? static_cast<T>(3.40282346638528859812e+38f)
                        : static_cast<T>(1.79769313486231570815e+308);
}

// NVRTC declares these at global scope without a header; a host compiler has them as builtins.
#if defined(__CUDACC_RTC__)
#define TW_MATH(name) ::name
#else
#define TW_MATH(name) __builtin_##name
#endif

TW_HD inline float exp2(float x) {
  return TW_MATH(exp2f)(x);
}
TW_HD inline double exp2(double x) {
  return TW_MATH(exp2)(x);
}
TW_HD inline float log2(float x) {
  return TW_MATH(log2f)(x);
}
TW_HD inline double log2(double x) {
  return TW_MATH(log2)(x);
}
#undef TW_MATH

template <class T>
TW_HD constexpr T absolute(T x) {
  return x < 0 ? -x : x;
}

}  // namespace tilewise::core
