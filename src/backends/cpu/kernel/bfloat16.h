// bfloat16 on processors that multiply it in pairs into float sums, by VDPBF16PS or AMX. Scratch
// memory holds pairs, each in the place of a float: neighbours along the dimension that the product
// sums over, be it columns, keys or queries. Between products everything is float.
#pragma once

#include <immintrin.h>

#include "backends/cpu/kernel/instance.h"
#include "backends/cpu/simd/pairs.h"

namespace tilewise::cpu {

template <class Isa>
struct Pairs {
  using V = typename Lanes<Isa, float>::V;
  using U = typename Lanes<Isa, float>::U;
  static constexpr int64 kLanes = Lanes<Isa, float>::kCount, kPitch = kLanes * Isa::kVectors;

  typedef uint16 Codes32 __attribute__((vector_size(64)));

  // RowSteps::load: copies rows unchanged, with zeros behind each and in the place of missing rows.
  static void load_rows(const Rows& rows, float, Matrix<float> to, int64 padded) {
    constexpr int64 kCodes = 2 * kLanes;  // in a vector
    for (int64 r = 0; r < padded; ++r) {
      Memory<Isa, float>::fetch(rows, r + Memory<Isa, float>::kPrefetchedRows);
      auto* row = reinterpret_cast<uint16*>(to.data + r * to.pitch);
      int64 c = 0;
      if (r < rows.count) {
        const auto* from = reinterpret_cast<const uint16*>(rows.at[r]);
        for (; c + kCodes <= rows.dim; c += kCodes) store(row + c, load<Codes32>(from + c));
        for (; c < rows.dim; ++c) row[c] = from[c];
      }
      for (; c % kCodes != 0 && c < 2 * to.pitch; ++c) row[c] = 0;
      for (; c < 2 * to.pitch; c += kCodes) store(row + c, Codes32{});
    }
  }

  static void to_lanes(Matrix<const float> from, int64 columns, int64 vectors, float* to) {
    const int64 pairs = (columns + 2 * kLanes - 1) / (2 * kLanes) * kLanes;
    transpose<Isa, float>(from, {to, kPitch}, vectors * kLanes, pairs);
  }

  // Writes pairs of two rows, column by column; if `odd` is null, zeros take its place.
  TW_INLINE static void interleave(const std::byte* even, const std::byte* odd, int64 dim,
                                   float* to) {
    using C = Codes<Isa, uint16>;
    auto* pairs = reinterpret_cast<uint32*>(to);
    int64 c = 0;
    for (; c + kLanes <= dim; c += kLanes) {
      const U low = C::read(even, c), high = odd ? C::read(odd, c) : U{};
      store(pairs + c, low | high << 16);
    }
    const auto* first = reinterpret_cast<const uint16*>(even);
    const auto* second = reinterpret_cast<const uint16*>(odd);
    for (; c < dim; ++c) pairs[c] = first[c] | (second ? uint32{second[c]} << 16 : 0);
  }

  TW_INLINE static void fetch_two(const Rows& rows, int64 r) {
    Memory<Isa, float>::fetch(rows, r + Memory<Isa, float>::kPrefetchedRows);
    Memory<Isa, float>::fetch(rows, r + Memory<Isa, float>::kPrefetchedRows + 1);
  }

  // RowSteps::load_right: pairs of rows r and r + 1, column by column, with zeros up to `padded`
  // rows.
  static void load_right(const Rows& rows, float, Matrix<float> to, int64 padded) {
    for (int64 r = 0; r < padded; r += 2) {
      fetch_two(rows, r);
      float* pairs = to.data + r / 2 * to.pitch;
      int64 filled = 0;
      if (r < rows.count) {
        interleave(rows.at[r], r + 1 < rows.count ? rows.at[r + 1] : nullptr, rows.dim, pairs);
        filled = rows.dim;
      }
      for (int64 c = filled; c < to.pitch; ++c) pairs[c] = 0;
    }
  }

  // Rounds a row of a tile to bfloat16, so that it holds pairs of lanes.
  TW_INLINE static void narrow_row(const V (&x)[Isa::kVectors], float* to) {
    auto* codes = reinterpret_cast<uint16*>(to);
    TW_UNROLL for (int j = 0; j < Isa::kVectors; ++j) {
      typedef uint16 Half __attribute__((vector_size(32)));
      store(codes + j * kLanes, (Half)_mm512_cvtneps_pbh((__m512)x[j]));
    }
  }

  // Loads a row of a tile, or zeros unless it is `held`.
  TW_INLINE static void load_row(bool held, const float* from, V (&to)[Isa::kVectors]) {
    TW_UNROLL for (int j = 0; j < Isa::kVectors; ++j) to[j] =
        held ? load<V>(from + j * kLanes) : V{};
  }

  static void pack(const PackArgs<float>& a) {
    V even[Isa::kVectors], odd[Isa::kVectors];
    for (int64 key = 0; key < a.keys; key += 2) {
      float* row = a.gradient + key * kPitch;
      const bool is_pair = key + 1 < a.keys;
      load_row(true, row, even);
      load_row(is_pair, row + kPitch, odd);
      TW_UNROLL for (int j = 0; j < Isa::kVectors; ++j)
          store(a.by_query + key / 2 * kPitch + j * kLanes, OfPairs::beside(even[j], odd[j]));
      narrow_row(even, row);
      if (is_pair) narrow_row(odd, row + kPitch);
    }
    for (int64 key = 0; key < a.keys; ++key) {
      load_row(true, a.weights + key * kPitch, even);
      narrow_row(even, a.weights + key * kPitch);
    }
  }

  // Stores the weights of keys 2k and 2k + 1 as a pair in row k of the tile.
  struct Narrow {
    TW_INLINE static void put(float* column, int64 key, V x) { put(column, key, x, V{}); }
    TW_INLINE static void put(float* column, int64 key, V x, V y) {
      store(column + key / 2 * kPitch, OfPairs::beside(x, y));
    }
  };

  static void raise(const RaiseArgs<float>& a) {
    Forward<Isa, float>::template raise_into<Narrow>(a);
  }
};

// An instruction set's kernels for bfloat16, with the products and layouts of `Products`.
template <class Isa, template <class> class Products>
constexpr Kernels<float> bfloat16_kernels_of() {
  Kernels<float> kernels = kernels_of<Isa, float>();
  kernels.ends = Products<Isa>::kEnds;
  kernels.rows.load = Pairs<Isa>::load_rows;
  kernels.rows.load_right = Pairs<Isa>::load_right;
  kernels.rows.to_lanes = Pairs<Isa>::to_lanes;
  kernels.rows.load_panels = Products<Isa>::load_panels;
  kernels.forward.score = Products<Isa>::score;
  kernels.forward.raise = Pairs<Isa>::raise;
  kernels.forward.accumulate = Products<Isa>::accumulate;
  kernels.backward.pack = Pairs<Isa>::pack;
  kernels.backward.add_product = Products<Isa>::add_product;
  return kernels;
}

}  // namespace tilewise::cpu
