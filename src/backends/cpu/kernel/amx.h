// bfloat16 by AMX: a tile register holds 16 rows of 64 bytes, and one instruction multiplies 16
// rows of 16 pairs with 16 pairs of 16 lanes. Scores of 16 keys and 64 lanes fill four of the
// eight.
#pragma once

#include "backends/cpu/kernel/bfloat16.h"

namespace tilewise::cpu {

template <class Isa>
struct TilePairs {
  using P = Pairs<Isa>;
  using F = Forward<Isa, float>;
  using V = typename P::V;
  static constexpr int64 kLanes = P::kLanes, kPitch = P::kPitch;
  static constexpr int64 kRows = 16, kPairs = 16;
  static_assert(kPitch == 64);

  // All eight registers of their full size. They hold nothing between calls.
  struct Tiles {
    TW_INLINE Tiles() {
      alignas(64) static constexpr Config kFull{};
      _tile_loadconfig(&kFull);
    }
    TW_INLINE ~Tiles() { _tile_release(); }

    struct Config {
      unsigned char palette = 1, start_row = 0, reserved[14] = {};
      unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };
  };

  // Registers 0 to 3 += 16 rows of `left`, row_bytes apart, times `right`, over `depth` pairs.
  template <int vectors>
  TW_INLINE static void multiply(const float* left, int64 row_bytes, const float* right,
                                 int64 depth) {
    constexpr int64 kRightBytes = kPitch * 4;
    for (int64 k = 0; k < depth; k += kPairs) {
      const float* from = right + k * kPitch;
      _tile_loadd(4, left + k, static_cast<unsigned long>(row_bytes));
      _tile_loadd(5, from, kRightBytes);
      _tile_dpbf16ps(0, 4, 5);
      if constexpr (vectors > 1) {
        _tile_loadd(6, from + kLanes, kRightBytes);
        _tile_dpbf16ps(1, 4, 6);
      }
      if constexpr (vectors > 2) {
        _tile_loadd(7, from + 2 * kLanes, kRightBytes);
        _tile_dpbf16ps(2, 4, 7);
      }
      if constexpr (vectors > 3) {
        _tile_loadd(5, from + 3 * kLanes, kRightBytes);
        _tile_dpbf16ps(3, 4, 5);
      }
    }
  }

  template <int vectors>
  TW_INLINE static void clear() {
    _tile_zero(0);
    if constexpr (vectors > 1) _tile_zero(1);
    if constexpr (vectors > 2) _tile_zero(2);
    if constexpr (vectors > 3) _tile_zero(3);
  }

  template <int vectors>
  TW_INLINE static void take(const float* from) {
    constexpr int64 kBytes = kPitch * 4;
    _tile_loadd(0, from, kBytes);
    if constexpr (vectors > 1) _tile_loadd(1, from + kLanes, kBytes);
    if constexpr (vectors > 2) _tile_loadd(2, from + 2 * kLanes, kBytes);
    if constexpr (vectors > 3) _tile_loadd(3, from + 3 * kLanes, kBytes);
  }

  template <int vectors>
  TW_INLINE static void put(float* to) {
    constexpr int64 kBytes = kPitch * 4;
    _tile_stored(0, to, kBytes);
    if constexpr (vectors > 1) _tile_stored(1, to + kLanes, kBytes);
    if constexpr (vectors > 2) _tile_stored(2, to + 2 * kLanes, kBytes);
    if constexpr (vectors > 3) _tile_stored(3, to + 3 * kLanes, kBytes);
  }

  // A register has 16 rows, and the tile may end before: what lies behind it is not ours.
  template <int vectors>
  TW_INLINE static void put_last(ScoreTile<float> tile, int64 key) {
    alignas(64) float rows[kRows * kPitch];
    put<vectors>(rows);
    for (int64 r = 0; key + r < tile.keys; ++r)
      for (int64 j = 0; j < vectors; ++j)
        store(tile.data + (key + r) * kPitch + j * kLanes, load<V>(rows + r * kPitch + j * kLanes));
  }

  // Scores of up to 16 keys from `key` on.
  template <int vectors>
  TW_INLINE static void score_rows(const ScoreArgs<float>& a, int64 key) {
    clear<vectors>();
    multiply<vectors>(a.key.data + key * a.key.pitch, a.key.pitch * 4, a.query, (a.dim + 1) / 2);
    if (key + kRows <= a.tile.keys) {
      put<vectors>(a.tile.data + key * kPitch);
    } else {
      put_last<vectors>(a.tile, key);
    }
  }

  // What was scored before is looked at while the tiles multiply.
  template <int vectors>
  TW_INLINE static typename F::I score_in(const ScoreArgs<float>& a) {
    const Tiles tiles;
    V largest[vectors];
    TW_UNROLL for (int j = 0; j < vectors; ++j) largest[j] = all<V>(-kInfinity<float>);
    typename F::Fetched keys(a.ahead, a.tile, kRows), bias(a.bias, a.tile, kRows);
    for (int64 key = 0; key < a.tile.keys + kRows; key += kRows) {
      keys.more();
      bias.more();
      if (key < a.tile.keys) score_rows<vectors>(a, key);
      if (key == 0) continue;
      for (int64 r = key - kRows; r < key && r < a.tile.keys; ++r) {
        TW_UNROLL for (int j = 0; j < vectors; ++j) {
          largest[j] = larger(largest[j], load<V>(a.tile.data + r * kPitch + j * kLanes));
        }
      }
    }
    return F::keep_largest(a, largest);
  }

  static bool score(const ScoreArgs<float>& a) {
    typename F::I odd = {};
    with_vectors<Isa::kVectors>(
        a.tile.vectors, [&]<int vectors>() TW_INLINE_LAMBDA { odd = score_in<vectors>(a); });
    return any(odd);
  }

  // Pairs of keys in a row for each column, in whole registers: a tile's keys and as many zeros as
  // fill the last register from wherever a stretch of keys begins.
  static constexpr int64 row_pairs(int64 panel_keys) {
    return panel_keys / 2 / kPairs * kPairs + kPairs;
  }

  static void load_panels(const Rows& rows, float, float* to, int64 panel_keys, float* row) {
    const int64 padded = (rows.dim + kLanes - 1) / kLanes * kLanes, pitch = row_pairs(panel_keys);
    for (int64 first = 0; first < 2 * pitch; first += 2 * kPairs) {
      for (int64 k = 0; k < kPairs; ++k) {
        const int64 even = first + 2 * k;
        float* pairs = row + k * padded;
        if (even < rows.count)
          P::interleave(rows.at[even], even + 1 < rows.count ? rows.at[even + 1] : nullptr,
                        rows.dim, pairs);
        for (int64 c = even < rows.count ? rows.dim : 0; c < padded; ++c) pairs[c] = 0;
      }
      turn<Isa, float>({row, padded}, {to + first / 2, pitch}, kPairs, padded);
    }
  }

  static void accumulate(const AccumulateArgs<float>& a) {
    const int64 pairs = (a.tile.keys + 2 * kPairs - 1) / (2 * kPairs) * kPairs;
    for (int64 k = (a.tile.keys + 1) / 2; k < pairs; ++k)
      for (int64 j = 0; j < a.tile.vectors; ++j) store(a.tile.data + k * kPitch + j * kLanes, V{});
    rescale(a);
    const int64 pitch = row_pairs(a.panel_keys);
    const Tiles tiles;
    with_vectors<Isa::kVectors>(a.tile.vectors, [&]<int vectors>() TW_INLINE_LAMBDA {
      for (int64 c = 0; c < a.dim; c += kRows) {
        take<vectors>(a.output + c * kPitch);
        multiply<vectors>(a.value + c * pitch + a.first / 2, pitch * 4, a.tile.data, pairs);
        put<vectors>(a.output + c * kPitch);
      }
    });
  }

  // Most tiles raise no lane's maximum.
  TW_INLINE static void rescale(const AccumulateArgs<float>& a) {
    for (int64 j = 0; j < a.tile.vectors; ++j) {
      const V factor = load<V>(a.factor + j * kLanes);
      if (!any(factor != all<V>(1.f))) continue;
      for (int64 c = 0; c < a.dim; ++c) {
        float* at = a.output + c * kPitch + j * kLanes;
        store(at, load<V>(at) * factor);
      }
    }
  }
};

}  // namespace tilewise::cpu
