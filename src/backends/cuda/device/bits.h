// Bit and byte operations that are one instruction each.
#pragma once

#include "backends/cuda/device/thread.h"

namespace tilewise::cuda {

// The index of the highest set bit. At least one must be set.
TW_DEVICE int32 highest_bit(uint32 bits) {
#if defined(TW_ON_DEVICE)
  return 31 - ::__clz(static_cast<int>(bits));
#else
  return 31 - __builtin_clz(bits);
#endif
}

// sum + the dot product of the four bytes of a and the four bytes of b.
TW_DEVICE uint32 add_byte_products(uint32 a, uint32 b, uint32 sum) {
#if defined(TW_ON_DEVICE)
  return ::__dp4a(a, b, sum);
#else
  for (int32 shift = 0; shift < 32; shift += 8) sum += (a >> shift & 0xFF) * (b >> shift & 0xFF);
  return sum;
#endif
}

// Selects four bytes out of eight: bytes 0 to 3 are `low`, 4 to 7 `high`. Each hexadecimal digit of
// `places` selects one, the lowest digit first.
TW_DEVICE uint32 choose_bytes(uint32 low, uint32 high, uint32 places) {
#if defined(TW_ON_DEVICE)
  return ::__byte_perm(low, high, places);
#else
  const uint64 all = uint64{high} << 32 | low;
  uint32 chosen = 0;
  for (int32 n = 0; n < 4; ++n)
    chosen |= static_cast<uint32>(all >> (places >> 4 * n & 7) * 8 & 0xFF) << 8 * n;
  return chosen;
#endif
}

}  // namespace tilewise::cuda
