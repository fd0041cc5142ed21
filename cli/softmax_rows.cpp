#include "cli/softmax_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace tilewise::cli {
namespace {

constexpr std::int64_t kLanes = 16;
// Split by the compiler into as many registers as the instructions at hand need.
using Floats [[gnu::vector_size(64)]] = float;
using Integers [[gnu::vector_size(64)]] = std::int32_t;

#define TW_INLINE [[gnu::always_inline]] inline

TW_INLINE void load(Floats& values, const float* from) {
  std::memcpy(&values, from, sizeof values);
}

// exp(x) = 2^whole * 2^part with part in [-1/2, 1/2], for which a polynomial of degree 5 does.
TW_INLINE void exponential(Floats& x) {
  constexpr float kLog2E = 1.44269504F, kSmallest = -126, kRounder = 12582912;  // 1.5 * 2^23
  Floats power = x * kLog2E;
  power = power < kSmallest ? Floats{} + kSmallest : power;
  const Floats whole = (power + kRounder) - kRounder;
  const Floats part = power - whole;
  Floats value = part * 0.00132764608F + 0.00967554189F;
  value = value * part + 0.0555071346F;
  value = value * part + 0.240221202F;
  value = value * part + 0.693146944F;
  value = value * part + 1.00000012F;
  const Integers exponent = (__builtin_convertvector(whole, Integers) + 127) << 23;
  Floats scale;
  std::memcpy(&scale, &exponent, sizeof scale);
  x = value * scale;
}

TW_INLINE float largest_of(const float* row, std::int64_t count) {
  float most = -INFINITY;
  std::int64_t i = 0;
  if (count >= kLanes) {
    Floats lanes;
    load(lanes, row);
    for (i = kLanes; i + kLanes <= count; i += kLanes) {
      Floats next;
      load(next, row + i);
      lanes = lanes > next ? lanes : next;
    }
    for (std::int64_t k = 0; k < kLanes; ++k) most = std::max(most, lanes[k]);
  }
  for (; i < count; ++i) most = std::max(most, row[i]);
  return most;
}

TW_INLINE float exponentials_of(float* row, std::int64_t count, float shift) {
  Floats sums = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Floats values;
    load(values, row + i);
    values = values - shift;
    exponential(values);
    std::memcpy(row + i, &values, sizeof values);
    sums += values;
  }
  float sum = 0;
  for (std::int64_t k = 0; k < kLanes; ++k) sum += sums[k];
  for (; i < count; ++i) {
    row[i] = std::exp(row[i] - shift);
    sum += row[i];
  }
  return sum;
}

TW_INLINE void scale_shifted_of(float* row, const float* factor, std::int64_t count, float shift) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Floats values, factors;
    load(values, row + i);
    load(factors, factor + i);
    values = factors * (values - shift);
    std::memcpy(row + i, &values, sizeof values);
  }
  for (; i < count; ++i) row[i] = factor[i] * (row[i] - shift);
}

#undef TW_INLINE

#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] float largest_avx2(const float* row, std::int64_t count) {
  return largest_of(row, count);
}
[[gnu::target("avx2,fma")]] float exponentials_avx2(float* row, std::int64_t count, float shift) {
  return exponentials_of(row, count, shift);
}
[[gnu::target("avx512f,avx512dq")]] float largest_avx512(const float* row, std::int64_t count) {
  return largest_of(row, count);
}
[[gnu::target("avx512f,avx512dq")]] float exponentials_avx512(float* row, std::int64_t count,
                                                              float shift) {
  return exponentials_of(row, count, shift);
}
[[gnu::target("avx2,fma")]] void scale_shifted_avx2(float* row, const float* factor,
                                                    std::int64_t count, float shift) {
  scale_shifted_of(row, factor, count, shift);
}
[[gnu::target("avx512f,avx512dq")]] void scale_shifted_avx512(float* row, const float* factor,
                                                              std::int64_t count, float shift) {
  scale_shifted_of(row, factor, count, shift);
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
  return largest_of(row, count);
}

float exponentials(float* row, std::int64_t count, float shift) {
#if defined(__x86_64__)
  if (has_avx512()) return exponentials_avx512(row, count, shift);
  if (has_avx2()) return exponentials_avx2(row, count, shift);
#endif
  return exponentials_of(row, count, shift);
}

void scale_shifted(float* row, const float* factor, std::int64_t count, float shift) {
#if defined(__x86_64__)
  if (has_avx512()) return scale_shifted_avx512(row, factor, count, shift);
  if (has_avx2()) return scale_shifted_avx2(row, factor, count, shift);
#endif
  scale_shifted_of(row, factor, count, shift);
}

}  // namespace tilewise::cli
