// bfloat16 products by VDPBF16PS: float's register blocks, with a pair in each multiplication.
#pragma once

#include "backends/cpu/kernel/bfloat16.h"

namespace tilewise::cpu {

template <class Isa>
struct DotPairs {
  using P = Pairs<Isa>;
  using F = Forward<Isa, float>;
  static constexpr bool kEnds = true;

  static bool score(const ScoreArgs<float>& a) { return F::template score<OfPairs>(a); }

  // Makes panels of kPanel columns, each [pair of keys][kPanel].
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

  static void accumulate(const AccumulateArgs<float>& a) { F::template accumulate<OfPairs>(a); }

  static void add_product(const ProductArgs<float>& a) {
    Backward<Isa, float>::template add_product<OfPairs>(a);
  }
};

}  // namespace tilewise::cpu
