// bfloat16 by VDPBF16PS: a block of registers as in float, each multiplication taking a pair.
#pragma once

#include "backends/cpu/kernel/bfloat16.h"

namespace tilewise::cpu {

template <class Isa>
struct DotPairs {
  using P = Pairs<Isa>;
  using F = Forward<Isa, float>;
  using V = typename P::V;
  static constexpr int64 kLanes = P::kLanes, kPitch = P::kPitch;
  static constexpr int kRows = 8;

  // Sums of pairs of `a` times pairs of b, over `depth` pairs.
  template <int vectors>
  TW_INLINE static Block<V, kRows, vectors> multiply(Operand<float> a, const float* b,
                                                     int64 depth) {
    Block<V, kRows, vectors> block;
    block.clear();
    block.template add<OfPairs>(a, b, kPitch, depth);
    return block;
  }

  template <int vectors>
  TW_INLINE static typename F::I score_in(const ScoreArgs<float>& a) {
    F::clear_largest(a);
    typename F::Fetched keys(a.ahead, a.tile, kRows), bias(a.bias, a.tile, kRows);
    for (int64 key = 0; key < a.tile.keys; key += kRows) {
      keys.more();
      bias.more();
      multiply<vectors>({a.key.data + key * a.key.pitch, a.key.pitch, 1}, a.query, (a.dim + 1) / 2)
          .keep(a.tile.data + key * kPitch, kPitch, a.tile.keys - key, a.largest);
    }
    return F::odd_ones(a);
  }

  static bool score(const ScoreArgs<float>& a) {
    typename F::I odd = {};
    with_vectors<Isa::kVectors>(
        a.tile.vectors, [&]<int vectors>() TW_INLINE_LAMBDA { odd = score_in<vectors>(a); });
    return any(odd);
  }

  // Panels of kPanel columns, each [pair of keys][kPanel].
  static void load_panels(const Rows& rows, float, float* to, int64 panel_keys, float* row) {
    const int64 padded = (rows.dim + kPanel - 1) / kPanel * kPanel;
    for (int64 c = rows.dim; c < padded; ++c) row[c] = 0;
    for (int64 r = 0; r < rows.count; r += 2) {
      P::fetch_two(rows, r);
      P::interleave(rows.at[r], r + 1 < rows.count ? rows.at[r + 1] : nullptr, rows.dim, row);
      for (int64 c = 0; c < padded; c += kPanel)
        __builtin_memcpy(to + c * panel_keys / 2 + r / 2 * kPanel, row + c, kPanel * 4);
    }
  }

  template <int vectors>
  TW_INLINE static void accumulate_in(const AccumulateArgs<float>& a, int64 pairs) {
    V factor[vectors];
    TW_UNROLL for (int j = 0; j < vectors; ++j) factor[j] = load<V>(a.factor + j * kLanes);
    for (int64 c = 0; c < a.dim; c += kRows) {
      const float* panel = a.value + c * a.panel_keys / 2 + a.first / 2 * kPanel;
      multiply<vectors>({panel, 1, kPanel}, a.tile.data, pairs)
          .gather(a.output + c * kPitch, kPitch, factor);
    }
  }

  static void accumulate(const AccumulateArgs<float>& a) {
    const int64 pairs = (a.tile.keys + 1) / 2;
    with_vectors<Isa::kVectors>(
        a.tile.vectors, [&]<int vectors>() TW_INLINE_LAMBDA { accumulate_in<vectors>(a, pairs); });
  }

  static void add_product(const ProductArgs<float>& a) {
    Backward<Isa, float>::template add_product<OfPairs>(a);
  }
};

}  // namespace tilewise::cpu
