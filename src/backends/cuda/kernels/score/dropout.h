// Core's dropout decisions for the scores in a warp's registers, eight at a time. One draw of
// Philox decides for queries {i, i + 8} by keys {j, j + 8, j + 16, j + 24}, and one lane has all
// eight of these.
#pragma once

#include "backends/cuda/kernels/score/scoring.h"
#include "backends/cuda/kernels/score/sums.h"
#include "core/philox.h"

namespace tilewise::cuda::score {

// What decides dropout besides the query and key, for one head of one sequence. Dropout::base[2],
// which is added to queries, must be a multiple of 16, and base[3], which is added to keys, of 32.
// The host gives other calls to the plain kernels.
struct Drawing {
  core::PhiloxKey key;
  uint32 batch, head;
  uint32 first_query, first_key;  // the base in draws: 16 queries have 8, 32 keys have 8
  int32 threshold;
};

TW_DEVICE Drawing drawing_of(const Dropout& dropout, int64 b, int64 h) {
  core::Dropout drawn = dropout.decide;
  if (dropout.state) drawn = {dropout.state[0], dropout.state[1], dropout.decide.threshold()};
  const int64(&base)[4] = dropout.base;
  return {drawn.key(),
          static_cast<uint32>(b + base[0]),
          static_cast<uint32>(h + base[1]),
          static_cast<uint32>(base[2] / 16 * 8),
          static_cast<uint32>(base[3] / 32 * 8),
          drawn.threshold()};
}

// Whether decision `decision` of a draw keeps its element. Decisions 2 n and 2 n + 1 are the low
// and the high half of word n. The half is compared in the upper 16 bits of a word; the bits below
// cannot change the outcome. `threshold` must be above 0.
TW_DEVICE bool keeps(const core::Counter& drawn, int32 decision, int32 threshold) {
  const uint32 word = drawn.word[decision / 2];
  return (decision % 2 ? word : word << 16) > (static_cast<uint32>(threshold) << 16) - 1;
}

// The draw that decides for this query and key, and for the seven others that share it.
TW_DEVICE core::Counter draw(const Drawing& by, int32 query, int32 key) {
  const auto i = static_cast<uint32>(query), j = static_cast<uint32>(key);
  const core::Counter place{
      {by.first_key + j / 32 * 8 + j % 8, by.first_query + i / 16 * 8 + i % 8, by.head, by.batch}};
  return core::philox<7>(place, by.key);
}

// Where decision d of a draw lies among a lane's registers: piece (m, n), counted from the draw's
// first piece, and register i, of which i % 2 is `parity`. d is 4 * (which 8 of 16 queries) +
// (which 8 of 32 keys).
struct Decided {
  int32 m, n, i;
};
template <Lie lie>
TW_DEVICE constexpr Decided decided_by(int32 d, int32 parity) {
  if (lie == Lie::kKeysDown) return {d % 4 / 2, d / 4, 2 * (d % 2) + parity};
  return {0, d % 4, 2 * (d / 4) + parity};
}

// Calls drop(number, m, n, i) for each number of the lane that is dropped. The warp's first query
// must be a multiple of 16 and its first key one of 32, and it must have multiples of 16 queries
// and 32 keys.
template <Lie lie, class Numbers, class Drop>
TW_DEVICE void for_each_dropped(const Drawing& by, Corner<lie> corner, Numbers& numbers,
                                const Drop& drop) {
  constexpr int32 kDown = lie == Lie::kKeysDown ? 2 : 1, kAcross = lie == Lie::kKeysDown ? 2 : 4;
  static_assert(Numbers::kDown % kDown == 0 && Numbers::kAcross % kAcross == 0);
  constexpr int32 kAcrossDraws = Numbers::kAcross / kAcross;
  constexpr int32 kDraws = Numbers::kDown / kDown * kAcrossDraws * 2;
  TW_UNROLL
  for (int32 x = 0; x < kDraws; ++x) {
    const int32 parity = x % 2, n = x / 2 % kAcrossDraws * kAcross;
    const int32 m = x / 2 / kAcrossDraws * kDown;
    const core::Counter drawn = draw(by, corner.query + Corner<lie>::queries_to(m, n, parity),
                                     corner.key + Corner<lie>::keys_to(m, n, parity));
    TW_UNROLL
    for (int32 d = 0; d < 8; ++d) {
      const Decided of = decided_by<lie>(d, parity);
      if (!keeps(drawn, d, by.threshold))
        drop(numbers.at[m + of.m][n + of.n][of.i], m + of.m, n + of.n, of.i);
    }
  }
}

}  // namespace tilewise::cuda::score
