// Dropout's random numbers: Philox4x32, a keyed permutation of a counter (Salmon et al., 2011). The
// decision for an element depends only on seed, offset and the element's place, so tiles, passes
// and backends agree bit by bit.
#pragma once

#include "core/base.h"

namespace tilewise::core {

struct Counter {
  uint32 word[4];
};

struct PhiloxKey {
  uint32 word[2];
};

template <int rounds>
TW_HD constexpr Counter philox(Counter counter, PhiloxKey key) {
  for (int round = 0; round < rounds; ++round) {
    const uint64 a = uint64{0xD2511F53} * counter.word[0];
    const uint64 b = uint64{0xCD9E8D57} * counter.word[2];
    const auto high = [](uint64 x) { return static_cast<uint32>(x >> 32); };
    counter = {{high(b) ^ counter.word[1] ^ key.word[0], static_cast<uint32>(b),
                high(a) ^ counter.word[3] ^ key.word[1], static_cast<uint32>(a)}};
    key = {{key.word[0] + 0x9E3779B9, key.word[1] + 0xBB67AE85}};
  }
  return counter;
}

// Which elements of one (batch, head) survive. A call of Philox decides eight elements, laid out so
// that a lane of an mma tile uses all eight of them.
class Dropout {
 public:
  static constexpr int32 kSteps = 65536;

  constexpr Dropout() = default;

  // `threshold` of 65536 steps are dropped; 0 drops nothing.
  TW_HD constexpr Dropout(uint64 seed, uint64 offset, int32 threshold) : threshold_(threshold) {
    const Counter place{{low(offset), low(offset >> 32), 0, 0}};
    const Counter drawn = philox<7>(place, {{low(seed), low(seed >> 32)}});
    key_ = {{drawn.word[0], drawn.word[1]}};
  }

  TW_HD constexpr bool active() const { return threshold_ > 0; }

  // For kernels that draw for many elements at once and compare the bits themselves.
  TW_HD constexpr PhiloxKey key() const { return key_; }
  TW_HD constexpr int32 threshold() const { return threshold_; }

  // What survivors are multiplied by, from the rounded probability.
  TW_HD constexpr double scale() const { return double(kSteps) / (kSteps - threshold_); }

  TW_HD constexpr bool keeps(int64 batch, int64 head, int64 row, int64 column) const {
    const Counter place{{low(uint64(column / 32 * 8 + column % 8)),
                         low(uint64(row / 16 * 8 + row % 8)), low(uint64(head)),
                         low(uint64(batch))}};
    const Counter drawn = philox<7>(place, key_);
    const int64 decision = row % 16 / 8 * 4 + column % 32 / 8;
    // Picked without an index, because a GPU would keep an indexed array in slow local memory.
    const uint32 low_half = decision / 2 % 2 ? drawn.word[1] : drawn.word[0];
    const uint32 high_half = decision / 2 % 2 ? drawn.word[3] : drawn.word[2];
    const uint32 word = decision / 4 ? high_half : low_half;
    return int32((decision % 2 ? word >> 16 : word) & 0xFFFF) >= threshold_;
  }

 private:
  TW_HD static constexpr uint32 low(uint64 x) { return static_cast<uint32>(x); }

  PhiloxKey key_{};
  int32 threshold_ = 0;
};

}  // namespace tilewise::core
