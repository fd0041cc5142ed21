// What core needs from a host or device compiler. Core includes no headers but its own.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define TW_HD __host__ __device__
#else
#define TW_HD
#endif

namespace tilewise::core {

// NVRTC has no <cstdint>; these are the types that it and every 64-bit host agree on.
using int32 = int;
using int64 = long long;
using uint8 = unsigned char;
using uint16 = unsigned short;
using uint32 = unsigned int;
using uint64 = unsigned long long;
static_assert(sizeof(int32) == 4 && sizeof(int64) == 8 && sizeof(uint16) == 2);

template <class T>
TW_HD constexpr T smaller(T a, T b) {
  return b < a ? b : a;
}

template <class T>
TW_HD constexpr T larger(T a, T b) {
  return a < b ? b : a;
}

TW_HD constexpr int64 ceil_div(int64 a, int64 b) {
  return (a + b - 1) / b;
}

TW_HD constexpr int64 round_up(int64 a, int64 step) {
  return ceil_div(a, step) * step;
}

// Rounds towards minus infinity, unlike `/`: chunks of negative positions are chunks too.
TW_HD constexpr int64 floor_div(int64 a, int64 b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

// Half-open: rows, keys or tiles `begin` to `end - 1`.
struct Range {
  int64 begin = 0, end = 0;

  TW_HD constexpr int64 size() const { return end > begin ? end - begin : 0; }
  TW_HD constexpr bool empty() const { return end <= begin; }
  TW_HD constexpr bool contains(int64 i) const { return begin <= i && i < end; }
  constexpr bool operator==(const Range&) const = default;
};

TW_HD constexpr Range intersect(Range a, Range b) {
  return {larger(a.begin, b.begin), smaller(a.end, b.end)};
}

}  // namespace tilewise::core
