// Gradients that are wanted beside the usual ones, of bias and slopes: what each patch of scores
// has for them.
#pragma once

#include "backends/cuda/device/order.h"
#include "backends/cuda/kernels/sm80/backward_features.h"

namespace tilewise::cuda::sm80 {

template <class Scores>
TW_DEVICE void add_bias_gradient(const Between& to, const PatchOf& of, Scores& gradients) {
  const Axes& stride = to.bias_stride;
  const PatchOf::Corner corner = of.patch.corner();
  float* first = to.bias + (of.block.b * stride.batch + of.h * stride.head +
                            corner.query * stride.row + corner.key * stride.column);
  of.for_each(gradients, [&](float gradient, bool exists, int32 query, int32 key) {
    // What is hidden adds nothing; a NaN does.
    if (exists && gradient != 0)
      add_to(first + (query * stride.row + key * stride.column), gradient);
  });
}

// Where the warp's shares of the slopes' gradients lie: of head 0 of the group.
template <class Traits>
TW_DEVICE float* slope_share(const Backward& p, const KeyBlock& block, int32 g) {
  const int64 tiles = key_tiles(p.shape, p.plan.tiles);
  const int64 head = int64{block.b} * p.shape.heads + block.head(g);
  return p.between.slopes + ((head * tiles + block.tile) * Traits::kWarps + warp_index());
}

template <class Traits>
TW_DEVICE void clear_slope_shares(const Backward& p, const KeyBlock& block) {
  if (lane_index() != 0) return;
  for (int32 g = 0; g < block.heads; ++g) *slope_share<Traits>(p, block, g) = 0;
}

template <class Traits>
TW_DEVICE void add_slope_share(const Backward& p, const PatchOf& of, int32 g,
                               typename Traits::Scores& gradients) {
  float share = 0;
  score::for_each_distance(of.patch.corner(), of.block.band.diagonal, gradients,
                           [&](float gradient, float away) { share -= gradient * away; });
  const float sum = warp_sum(share);
  if (lane_index() == 0) *slope_share<Traits>(p, of.block, g) += sum;
}

// Of a bias whose columns follow each other: four at once, and all keys of a warp side by side.
// What lanes have of them goes through the warp's own part of the bias's tile, which nobody reads
// any more: as many queries at a time as it has room for.
template <class Traits>
struct BiasGradientWay {
  using BiasTile = typename Traits::BiasTile;
  static constexpr int32 kQueries = Traits::kQueriesAtOnce, kEights = kQueries / 8;
  // A slot holds four numbers of a query. Of a slot's number, the lowest three bits say which of
  // four pairs of queries and which half of eight keys: they decide in which banks it lies.
  static_assert(Traits::kKeysOfWarp == 32 && Traits::kDown == 2);
  uint8* bytes;
  int32 row, piece;  // of the warp's part

  TW_DEVICE float* slot(int32 low, int32 rest) const {
    const int32 at = row + rest % kEights * 8 + low;
    return reinterpret_cast<float*>(bytes + BiasTile::place(at, piece + rest / kEights));
  }
};

template <class Traits>
TW_DEVICE void add_bias_gradient_by_fours(const Between& to, typename Traits::BiasTile& tile,
                                          const PatchOf& of, typename Traits::Scores& gradients) {
  using Scores = typename Traits::Scores;
  const Axes& stride = to.bias_stride;
  const auto thread = static_cast<uint32>(thread_index_anew());
  const auto lane = static_cast<int32>(thread % kWarp), warp = static_cast<int32>(thread / kWarp);
  const BiasGradientWay<Traits> way{tile.bytes, of.patch.row,
                                    warp / Traits::kTiles.query_warps * Traits::kKeysOfWarp / 8};
  const int32 pair = lane & 3, query = of.patch.query + 2 * pair;
  const int32 key = of.patch.key + lane / 8 * 8 + (lane & 4);
  const int32 left = static_cast<int32>(of.block.queries.length) - query;
  const bool has_key = key < static_cast<int32>(of.block.columns.end);
  float* first =
      to.bias + (of.block.b * stride.batch + of.h * stride.head + query * stride.row + key);
  constexpr int32 kStep = BiasGradientWay<Traits>::kEights / 2;  // eights of queries at a time
  TW_UNROLL
  for (int32 n = 0; n < Scores::kAcross; n += kStep) {
    warp_barrier();
    TW_UNROLL
    for (int32 x = 0; x < kStep * 8; ++x) {
      const int32 eight = x / 8, parity = x % 2, m = x / 2 % 4;
      way.slot((lane / 16) * 4 + pair, m + 4 * (parity + 2 * eight))[lane / 4 % 4] =
          gradients.at[m / 2][n + eight][m % 2 * 2 + parity];
    }
    warp_barrier();
    TW_UNROLL
    for (int32 x = 0; x < kStep * 2; ++x) {
      const int32 eight = x / 2, parity = x % 2, further = (n + eight) * 8 + parity;
      const auto& four = *reinterpret_cast<const float(*)[4]>(
          way.slot(lane & 7, lane / 8 + 4 * (parity + 2 * eight)));
      if (has_key && further < left) add_four_to(first + further * stride.row, four);
    }
  }
}

// Gradients that are wanted beside the usual ones.
template <class Traits>
TW_DEVICE void give_wanted(const Backward& p, typename Traits::Memory& memory, const PatchOf& of,
                           int32 g, typename Traits::Scores& gradients) {
  constexpr uint32 kFeatures = Traits::kFeatures;
  if constexpr ((kFeatures & score::kBiasGradient) != 0)
    if (score::asks<kFeatures>(p.scoring, score::kBiasGradient))
      add_bias_gradient_by_fours<Traits>(p.between, memory.bias.at[of.stage], of, gradients);
  if constexpr ((kFeatures & score::kSlopesGradient) != 0)
    if (score::asks<kFeatures>(p.scoring, score::kSlopesGradient))
      add_slope_share<Traits>(p, of, g, gradients);
}

// Gradients of scores go where bias and slopes have theirs, and on to the products.
template <class Traits>
TW_DEVICE void give_shares(const Backward& p, const PatchOf& of, int32 g,
                           typename Traits::Scores& gradients, Shaping<Traits>& shaping) {
  if (p.between.bias) add_bias_gradient(p.between, of, gradients);
  if (p.between.slopes) add_slope_share<Traits>(p, of, g, gradients);
  if (score::asks<Traits::kFeatures>(p.scoring, score::kSoftcap))
    multiply_each(gradients, shaping.slopes.at);
}

}  // namespace tilewise::cuda::sm80
