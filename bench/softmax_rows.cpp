#include "bench/softmax_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace tilewise::cli {
namespace {

#define TW_INLINE [[gnu::always_inline]] static inline

struct Vectors16 {
  using Floats [[gnu::vector_size(16)]] = float;
  using Integers [[gnu::vector_size(16)]] = std::uint32_t;
};
struct Vectors32 {
  using Floats [[gnu::vector_size(32)]] = float;
  using Integers [[gnu::vector_size(32)]] = std::uint32_t;
};
struct Vectors64 {
  using Floats [[gnu::vector_size(64)]] = float;
  using Integers [[gnu::vector_size(64)]] = std::uint32_t;
};

// The loops over a row of scores. Vectors must be as wide as the instruction set's, because
// compilers split wider ones badly.
template <class Vectors>
struct Rows {
  using Floats = typename Vectors::Floats;
  using Integers = typename Vectors::Integers;
  static constexpr std::int64_t kLanes = sizeof(Floats) / 4;

  TW_INLINE void load(Floats& values, const float* from) {
    std::memcpy(&values, from, sizeof values);
  }
  TW_INLINE void store(float* to, const Floats& values) { std::memcpy(to, &values, sizeof values); }

  // exp(x) = 2^whole * 2^part with part in [-1/2, 1/2]; a polynomial of degree 5 gives 2^part.
  TW_INLINE void exponential(Floats& x) {
    constexpr float kLog2E = 1.44269504F, kSmallest = -126, kRounder = 12582912;  // 1.5 * 2^23
    Floats power = x * kLog2E;
    power = power < kSmallest ? Floats{} + kSmallest : power;
    // The low bits of `rounded` are the whole number; shifted to the top they are the exponent.
    const Floats rounded = power + kRounder;
    const Floats part = power - (rounded - kRounder);
    Floats value = part * 0.00132764608F + 0.00967554189F;
    value = value * part + 0.0555071346F;
    value = value * part + 0.240221202F;
    value = value * part + 0.693146944F;
    value = value * part + 1.00000012F;
    Integers exponent;
    std::memcpy(&exponent, &rounded, sizeof exponent);
    exponent = (exponent << 23) + (127U << 23);
    Floats scale;
    std::memcpy(&scale, &exponent, sizeof scale);
    x = value * scale;
  }

  TW_INLINE float largest(const float* row, std::int64_t count) {
    float most = -INFINITY;
    std::int64_t i = 0;
    if (count >= 2 * kLanes) {
      Floats even, odd;
      load(even, row);
      load(odd, row + kLanes);
      for (i = 2 * kLanes; i + 2 * kLanes <= count; i += 2 * kLanes) {
        Floats next, after;
        load(next, row + i);
        load(after, row + i + kLanes);
        even = even > next ? even : next;
        odd = odd > after ? odd : after;
      }
      even = even > odd ? even : odd;
      for (std::int64_t k = 0; k < kLanes; ++k) most = std::max(most, even[k]);
    }
    for (; i < count; ++i) most = std::max(most, row[i]);
    return most;
  }

  TW_INLINE float exponentials(float* row, std::int64_t count, float shift) {
    Floats sums = {};
    std::int64_t i = 0;
    for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
      Floats values, others;
      load(values, row + i);
      load(others, row + i + kLanes);
      values = values - shift;
      others = others - shift;
      exponential(values);
      exponential(others);
      store(row + i, values);
      store(row + i + kLanes, others);
      sums += values + others;
    }
    float sum = 0;
    for (std::int64_t k = 0; k < kLanes; ++k) sum += sums[k];
    for (; i < count; ++i) {
      row[i] = std::exp(row[i] - shift);
      sum += row[i];
    }
    return sum;
  }

  TW_INLINE void scale_shifted(float* row, const float* factor, std::int64_t count, float shift) {
    std::int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      Floats values, factors;
      load(values, row + i);
      load(factors, factor + i);
      store(row + i, factors * (values - shift));
    }
    for (; i < count; ++i) row[i] = factor[i] * (row[i] - shift);
  }
};

#undef TW_INLINE

#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] float largest_avx2(const float* row, std::int64_t count) {
  return Rows<Vectors32>::largest(row, count);
}
[[gnu::target("avx2,fma")]] float exponentials_avx2(float* row, std::int64_t count, float shift) {
  return Rows<Vectors32>::exponentials(row, count, shift);
}
[[gnu::target("avx512f,avx512dq")]] float largest_avx512(const float* row, std::int64_t count) {
  return Rows<Vectors64>::largest(row, count);
}
[[gnu::target("avx512f,avx512dq")]] float exponentials_avx512(float* row, std::int64_t count,
                                                              float shift) {
  return Rows<Vectors64>::exponentials(row, count, shift);
}
[[gnu::target("avx2,fma")]] void scale_shifted_avx2(float* row, const float* factor,
                                                    std::int64_t count, float shift) {
  Rows<Vectors32>::scale_shifted(row, factor, count, shift);
}
[[gnu::target("avx512f,avx512dq")]] void scale_shifted_avx512(float* row, const float* factor,
                                                              std::int64_t count, float shift) {
  Rows<Vectors64>::scale_shifted(row, factor, count, shift);
}

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
}
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

}  // namespace

float largest(const float* row, std::int64_t count) {
#if defined(__x86_64__)
  if (has_avx512()) return largest_avx512(row, count);
  if (has_avx2()) return largest_avx2(row, count);
#endif
  return Rows<Vectors16>::largest(row, count);
}

float exponentials(float* row, std::int64_t count, float shift) {
#if defined(__x86_64__)
  if (has_avx512()) return exponentials_avx512(row, count, shift);
  if (has_avx2()) return exponentials_avx2(row, count, shift);
#endif
  return Rows<Vectors16>::exponentials(row, count, shift);
}

void scale_shifted(float* row, const float* factor, std::int64_t count, float shift) {
#if defined(__x86_64__)
  if (has_avx512()) return scale_shifted_avx512(row, factor, count, shift);
  if (has_avx2()) return scale_shifted_avx2(row, factor, count, shift);
#endif
  Rows<Vectors16>::scale_shifted(row, factor, count, shift);
}

}  // namespace tilewise::cli
