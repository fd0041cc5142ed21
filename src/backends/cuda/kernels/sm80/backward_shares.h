// Gradients that are wanted beside the usual ones, of bias and slopes: what each patch of scores
// has for them.
#pragma once

#include "backends/cuda/kernels/sm80/backward_features.h"
#include "backends/cuda/kernels/sm80/backward_sums.h"

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

// Into the tile of the sums: a warp adds to memory that hangs together, from registers. What does
// not exist adds zeros.
template <class Traits>
TW_DEVICE void add_bias_gradient_to_tile(const Between& to, const PatchOf& of,
                                         typename Traits::Scores& gradients) {
  constexpr SumOrder kOrder{Traits::kThreads, kAddsFour};
  const Axes& stride = to.bias_stride;
  float* tile = to.bias + (of.block.b * stride.batch + of.h * stride.head +
                           of.patch.query / Traits::kTiles.queries * stride.row +
                           of.block.tile * stride.column);
  float* first = tile + kOrder.place(0, thread_index_anew(), 0);
  gradients.each_piece([&](float(&four)[4], int32 m, int32 n) {
    add_in_order<Traits>(first, m * Traits::Scores::kAcross + n, four);
  });
}

// Gradients that are wanted beside the usual ones.
template <class Traits>
TW_DEVICE void give_wanted(const Backward& p, const PatchOf& of, int32 g,
                           typename Traits::Scores& gradients) {
  constexpr uint32 kFeatures = Traits::kFeatures;
  if constexpr ((kFeatures & score::kBiasGradient) != 0)
    if (score::asks<kFeatures>(p.scoring, score::kBiasGradient))
      add_bias_gradient_to_tile<Traits>(p.between, of, gradients);
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
