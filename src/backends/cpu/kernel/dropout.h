// core::Dropout's decisions in vectors, with the same bits. A Philox draw makes eight decisions, of
// which a lane uses the four of its own row.
#pragma once

#include "backends/cpu/kernels.h"
#include "backends/cpu/simd/vector.h"

namespace tilewise::cpu {

template <class Isa, class T>
struct Drop {
  static constexpr int kCount = Lanes<Isa, T>::kCount;
  static constexpr int64 kPitch = int64{kCount} * Isa::kVectors;
  using V = typename Lanes<Isa, T>::V;
  using U = typename VectorOf<uint32, 4 * kCount>::Type;
  using I = typename VectorOf<int32, 4 * kCount>::Type;
  using Wide = typename VectorOf<uint64, 8 * kCount>::Type;

  struct Words {
    U word[4];
  };

  TW_INLINE static Words round(const Words& c, uint32 key0, uint32 key1) {
    const Wide a = __builtin_convertvector(c.word[0], Wide) * uint64{0xD2511F53};
    const Wide b = __builtin_convertvector(c.word[2], Wide) * uint64{0xCD9E8D57};
    const U high_a = __builtin_convertvector(a >> 32, U),
            high_b = __builtin_convertvector(b >> 32, U);
    return {{high_b ^ c.word[1] ^ key0, __builtin_convertvector(b, U), high_a ^ c.word[3] ^ key1,
             __builtin_convertvector(a, U)}};
  }

  TW_INLINE static Words draw(Words c, uint32 key0, uint32 key1) {
    TW_UNROLL for (int n = 0; n < 7; ++n) {
      c = round(c, key0, key1);
      key0 += 0x9E3779B9;
      key1 += 0xBB67AE85;
    }
    return c;
  }

  // Vector j of the tile's first row (`at`), and the key of the first of four decisions (`first`).
  struct Columns {
    T* at;
    int64 first, keys;
  };

  // Stores the factors of the four keys that a draw decides for each lane: to.first, and 8, 16 and
  // 24 keys further on.
  TW_INLINE static void drop_columns(const DropArgs& a, const Words& drawn, U upper, V keep_scale,
                                     const Columns& to) {
    const U first = upper != 0 ? drawn.word[2] : drawn.word[0];
    const U second = upper != 0 ? drawn.word[3] : drawn.word[1];
    const U decision[4] = {first & uint32{0xFFFF}, first >> 16, second & uint32{0xFFFF},
                           second >> 16};
    TW_UNROLL for (int n = 0; n < 4; ++n) {
      const int64 key = to.first + 8 * n;
      if (key < 0 || key >= to.keys) continue;
      const I kept = bits<I>(decision[n]) >= a.threshold;  // -1 where kept
      store(to.at + key * kPitch, __builtin_convertvector(kept, V) * -keep_scale);
    }
  }

  static void drop(const DropArgs& a, const DropLanes& lanes, T keep_scale, ScoreTile<T> to) {
    for (int64 j = 0; j < to.vectors; ++j) {
      const U upper = load<U>(lanes.upper + j * kCount);
      Words place{
          {U{}, load<U>(lanes.row + j * kCount), load<U>(lanes.head + j * kCount), U{} + a.batch}};
      for (int64 block = a.column / 32 * 32; block < a.column + to.keys; block += 32) {
        for (int64 c = 0; c < 8; ++c) {
          place.word[0] = U{} + static_cast<uint32>(block / 32 * 8 + c);
          drop_columns(a, draw(place, a.key[0], a.key[1]), upper, all<V>(keep_scale),
                       {to.data + j * kCount, block + c - a.column, to.keys});
        }
      }
    }
  }
};

}  // namespace tilewise::cpu
