// The few functions and constants that core takes from its compiler, for float and double alike.
#pragma once

#include "core/base.h"

namespace tilewise::core {

template <class T>
TW_HD constexpr T infinity() {
  return static_cast<T>(__builtin_huge_val());
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

TW_HD inline float exp2(float x) {
  return ::__builtin_exp2f(x);
}
TW_HD inline double exp2(double x) {
  return ::__builtin_exp2(x);
}
TW_HD inline float log2(float x) {
  return ::__builtin_log2f(x);
}
TW_HD inline double log2(double x) {
  return ::__builtin_log2(x);
}
TW_HD inline float absolute(float x) {
  return ::__builtin_fabsf(x);
}
TW_HD inline double absolute(double x) {
  return ::__builtin_fabs(x);
}

}  // namespace tilewise::core
