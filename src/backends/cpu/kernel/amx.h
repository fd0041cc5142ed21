// bfloat16 products by AMX. A tile register holds 16 rows of 64 bytes; one instruction multiplies
// 16 rows of 16 pairs by 16 pairs of 16 lanes. Scores of 16 keys and 64 lanes fill four of the
// eight tile registers.
#pragma once

#include "backends/cpu/kernel/bfloat16.h"

namespace tilewise::cpu {

template <class Isa>
struct TilePairs {
  using P = Pairs<Isa>;
  using F = Forward<Isa, float>;
  using V = typename P::V;
  static constexpr int64 kLanes = P::kLanes, kPitch = P::kPitch;
  static constexpr bool kEnds = false;
  static constexpr int64 kRows = 16, kPairs = 16;
  static_assert(kPitch == 64);

  // Configures all eight tile registers at full size, and releases them at the end.
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

  TW_INLINE static unsigned long bytes(int64 pitch) {
    return static_cast<unsigned long>(pitch) * 4;
  }

  // Keeps the compiler from moving stores behind tile loads: g++ 12 does not know that these read
  // memory.
  TW_INLINE static void settle() { __asm__ volatile("" ::: "memory"); }

  // Tile registers 0 .. vectors - 1 += 16 rows of `left` times `right`, over `depth` pairs.
  template <int vectors>
  TW_INLINE static void multiply(Matrix<const float> left, Matrix<const float> right, int64 depth) {
    settle();
    const unsigned long left_bytes = bytes(left.pitch), right_bytes = bytes(right.pitch);
    for (int64 k = 0; k < depth; k += kPairs) {
      const float* from = right.data + k * right.pitch;
      _tile_loadd(4, left.data + k, left_bytes);
      _tile_loadd(5, from, right_bytes);
      _tile_dpbf16ps(0, 4, 5);
      if constexpr (vectors > 1) {
        _tile_loadd(6, from + kLanes, right_bytes);
        _tile_dpbf16ps(1, 4, 6);
      }
      if constexpr (vectors > 2) {
        _tile_loadd(7, from + 2 * kLanes, right_bytes);
        _tile_dpbf16ps(2, 4, 7);
      }
      if constexpr (vectors > 3) {
        _tile_loadd(5, from + 3 * kLanes, right_bytes);
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
  TW_INLINE static void take(const float* from, int64 pitch) {
    settle();
    const unsigned long row_bytes = bytes(pitch);
    _tile_loadd(0, from, row_bytes);
    if constexpr (vectors > 1) _tile_loadd(1, from + kLanes, row_bytes);
    if constexpr (vectors > 2) _tile_loadd(2, from + 2 * kLanes, row_bytes);
    if constexpr (vectors > 3) _tile_loadd(3, from + 3 * kLanes, row_bytes);
  }

  template <int vectors>
  TW_INLINE static void put(float* to, int64 pitch) {
    const unsigned long row_bytes = bytes(pitch);
    _tile_stored(0, to, row_bytes);
    if constexpr (vectors > 1) _tile_stored(1, to + kLanes, row_bytes);
    if constexpr (vectors > 2) _tile_stored(2, to + 2 * kLanes, row_bytes);
    if constexpr (vectors > 3) _tile_stored(3, to + 3 * kLanes, row_bytes);
  }

  // Stores a tile's last rows, from `key` on. A register holds 16 rows, but memory behind the tile
  // must not be written.
  template <int vectors>
  TW_INLINE static void put_last(ScoreTile<float> tile, int64 key) {
    alignas(64) float rows[kRows * kPitch];
    put<vectors>(rows, kPitch);
    for (int64 r = 0; key + r < tile.keys; ++r)
      for (int64 j = 0; j < vectors; ++j)
        store(tile.data + (key + r) * kPitch + j * kLanes, load<V>(rows + r * kPitch + j * kLanes));
  }

  // Scores up to 16 keys from `key` on.
  template <int vectors>
  TW_INLINE static void score_rows(const ScoreArgs<float>& a, int64 key) {
    clear<vectors>();
    multiply<vectors>({a.key.data + key * a.key.pitch, a.key.pitch}, {a.query, kPitch},
                      (a.dim + 1) / 2);
    if (key + kRows <= a.tile.keys) {
      put<vectors>(a.tile.data + key * kPitch, kPitch);
    } else {
      put_last<vectors>(a.tile, key);
    }
  }

  // Scores a tile, 16 keys at a time. While AMX multiplies, vector instructions look for the
  // largest scores among the previous 16 keys.
  template <int vectors>
  TW_INLINE static typename F::I score_in(const ScoreArgs<float>& a) {
    const Tiles tiles;
    V largest[vectors];
    TW_UNROLL for (int j = 0; j < vectors; ++j) largest[j] = all<V>(-kInfinity<float>);
    typename F::Fetched keys(a.prefetch, a.tile, kRows), bias(a.prefetch_bias, a.tile, kRows);
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
    TW_UNROLL for (int j = 0; j < vectors; ++j) store(a.largest + j * kLanes, largest[j]);
    return F::beyond_limit(a);
  }

  static bool score(const ScoreArgs<float>& a) {
    typename F::I beyond = {};
    with_vectors<Isa::kVectors>(
        a.tile.vectors, [&]<int vectors>() TW_INLINE_LAMBDA { beyond = score_in<vectors>(a); });
    return any(beyond);
  }

  // Pairs of keys that load_panels stores for each column: the tile's, then zeros. accumulate may
  // begin at any pair and reads kPairs pairs at once, so it may read kPairs - 1 pairs of zeros.
  static constexpr int64 row_pairs(int64 panel_keys) {
    return panel_keys / 2 / kPairs * kPairs + kPairs;
  }

  static void load_panels(const Rows& rows, float, float* to, int64 panel_keys, float* row) {
    const int64 padded = (rows.dim + kLanes - 1) / kLanes * kLanes, pitch = row_pairs(panel_keys);
    for (int64 first = 0; first < 2 * pitch; first += 2 * kPairs) {
      for (int64 k = 0; k < kPairs; ++k) {
        const int64 even = first + 2 * k;
        float* pairs = row + k * padded;
        P::fetch_two(rows, even);
        if (even < rows.count)
          P::interleave(rows.at[even], even + 1 < rows.count ? rows.at[even + 1] : nullptr,
                        rows.dim, pairs);
        for (int64 c = even < rows.count ? rows.dim : 0; c < padded; ++c) pairs[c] = 0;
      }
      transpose<Isa, float>({row, padded}, {to + first / 2, pitch}, kPairs, padded);
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
        take<vectors>(a.output + c * kPitch, kPitch);
        multiply<vectors>({a.value + c * pitch + a.first / 2, pitch}, {a.tile.data, kPitch}, pairs);
        put<vectors>(a.output + c * kPitch, kPitch);
      }
    });
  }

  // Multiplies the output by the lanes' factors. Vectors of factors that are all 1, because the
  // tile raised none of their maxima, are skipped.
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

  // The most pairs in a row that rows_of transposes.
  static constexpr int64 kDepth = 64;

  TW_INLINE static int64 less(int64 a, int64 b) { return a < b ? a : b; }

  // 16 rows of the left side from row r on. A tile register needs the pairs of a row contiguous; if
  // `step` is not 1, the rows are transposed into `room` and padded with zeros.
  TW_INLINE static Matrix<const float> rows_of(const LeftSide<float>& left, int64 r, float* room) {
    const float* from = left.data + r * left.row;
    if (left.step == 1) return {from, left.row};
    const int64 padded = (left.depth + kPairs - 1) / kPairs * kPairs;
    transpose<Isa, float>({from, left.step}, {room, kDepth}, padded, kRows);
    for (int64 i = 0; i < kRows; ++i)
      for (int64 n = left.depth; n < padded; ++n) room[i * kDepth + n] = 0;
    return {room, kDepth};
  }

  // `to` += `left` times `right`, for up to 16 rows and `vectors` vectors of columns.
  template <int vectors>
  TW_INLINE static void add_squares(Matrix<const float> left, Matrix<const float> right,
                                    Matrix<float> to, int64 rows, int64 depth) {
    alignas(64) float room[kRows * kPitch];
    const auto copy = [](Matrix<const float> from, Matrix<float> into, int64 count)
                          TW_INLINE_LAMBDA {
                            for (int64 r = 0; r < count; ++r)
                              for (int64 j = 0; j < vectors; ++j)
                                store(into.data + r * into.pitch + j * kLanes,
                                      load<V>(from.data + r * from.pitch + j * kLanes));
                          };
    const bool whole = rows >= kRows;
    const Matrix<float> sums = whole ? to : Matrix<float>{room, kPitch};
    if (!whole) copy({to.data, to.pitch}, sums, rows);
    take<vectors>(sums.data, sums.pitch);
    const int64 full = depth / kPairs * kPairs;
    multiply<vectors>(left, right, full);
    if (full < depth) {
      alignas(64) float last[kPairs * kPitch] = {};
      copy({right.data + full * right.pitch, right.pitch}, {last, kPitch}, depth - full);
      multiply<vectors>({left.data + full, left.pitch}, {last, kPitch}, kPairs);
    }
    put<vectors>(sums.data, sums.pitch);
    if (!whole) copy({room, kPitch}, to, rows);
  }

  // Adds one segment's product to up to 16 rows of `to`, from row r on.
  TW_INLINE static void add_rows(const ProductArgs<float>& a, int64 r) {
    alignas(64) float room[kRows * kDepth];
    const Matrix<const float> left = rows_of(a.left, r, room);
    for (int64 c = 0; c < a.columns; c += kPitch) {
      const Matrix<const float> right{a.right.data + c, a.right.pitch};
      const Matrix<float> to{a.to.data + r * a.to.pitch + c, a.to.pitch};
      with_vectors<Isa::kVectors>(less(Isa::kVectors, (a.columns - c) / kLanes),
                                  [&]<int vectors>() TW_INLINE_LAMBDA {
                                    add_squares<vectors>(left, right, to, a.rows - r, a.left.depth);
                                  });
    }
  }

  static void add_product(const ProductArgs<float>& a) {
    const Tiles tiles;
    ProductArgs<float> part = a;
    for (int64 s = 0; s < a.left.segments; ++s) {
      for (int64 r = 0; r < a.rows; r += kRows) add_rows(part, r);
      part.left.data += a.left.next;
      part.right.data += a.left.depth * a.right.pitch;
    }
  }
};

}  // namespace tilewise::cpu
