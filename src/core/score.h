// What happens to a score between q.k and the softmax. Softcap and ALiBi stand beside their
// derivatives, so that a change of one is not made without the other.
#pragma once

#include "core/base.h"
#include "core/math.h"

namespace tilewise::core {

// tanh to a few units in the last place of T. Near 0 the form with exp2 cancels; the continued
// fraction does not, and down to level 15 it is exact enough for double below 1/2.
template <class T>
TW_HD T tanh(T x) {
  const T size = absolute(x);
  if (size < T(0.5)) {
    const T square = x * x;
    T fraction = T(15);
    for (int level = 13; level >= 1; level -= 2) fraction = T(level) + square / fraction;
    return x / fraction;
  }
  const T value = 1 - 2 / (exp2(2 * log2e<T>() * size) + 1);
  return x < 0 ? -value : x != x ? x : value;
}

// cap * tanh(score / cap): scores stay within [-cap, cap].
template <class T>
struct Softcap {
  T cap = 0;  // 0 = none

  TW_HD T operator()(T score) const { return cap > 0 ? cap * tanh(score / cap) : score; }

  // The derivative as a function of the capped score: 1 - tanh^2.
  TW_HD T derivative(T capped) const {
    const T ratio = cap > 0 ? capped / cap : T(0);
    return (1 - ratio) * (1 + ratio);
  }
};

// ALiBi: a key counts less the further it lies from the diagonal.
TW_HD constexpr int64 distance(int64 query, int64 key, int64 diagonal) {
  return absolute(query + diagonal - key);
}

template <class T>
struct Alibi {
  T slope = 0;

  TW_HD T operator()(T score, int64 away) const { return score - slope * T(away); }

  // The derivative with respect to the slope; with respect to the score it is 1.
  TW_HD static T derivative(int64 away) { return -T(away); }
};

// Makes an infinite score the largest finite number of its sign, so that what is added to it next
// makes no NaN of it. A NaN stays.
template <class T>
TW_HD T finite(T score) {
  return score < -largest<T>() ? -largest<T>() : score > largest<T>() ? largest<T>() : score;
}

// A visible score in units of log2. Scores beyond half of the largest finite value, infinite ones
// too, are set to that half with their sign: times log2(e) they could overflow to -inf, which only
// hidden keys may have. So a row of scores that are all finfo.min sees all keys alike. A NaN stays.
template <class T>
TW_HD T to_log2(T score) {
  const T limit = largest<T>() / 2;
  if (score < -limit) return -limit * log2e<T>();
  if (score > limit) return limit * log2e<T>();
  return score * log2e<T>();
}

}  // namespace tilewise::core
