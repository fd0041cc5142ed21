// The gradients of bias and of ALiBi's slopes. A patch adds its score gradients to the bias's
// gradient; each warp keeps a partial sum of each slope's.
#pragma once

#include "backends/cuda/kernels/sm80/backward_features.h"
#include "backends/cuda/kernels/sm80/backward_sums.h"

namespace tilewise::cuda::sm80 {

// Adds to the bias's gradient with atomics, element by element.
template <class Scores>
TW_DEVICE void add_bias_gradient(const Workspace& to, const PatchContext& context,
                                 Scores& gradients) {
  const Axes& stride = to.bias_stride;
  const PatchContext::Corner corner = context.patch.corner();
  float* first = to.bias + (context.block.b * stride.batch + context.h * stride.head +
                            corner.query * stride.row + corner.key * stride.column);
  context.for_each(gradients, [&](float gradient, bool exists, int32 query, int32 key) {
    // Hidden scores have the gradient 0 and are skipped. A NaN is added.
    if (exists && gradient != 0)
      add_to(first + (query * stride.row + key * stride.column), gradient);
  });
}

// The warp's partial sum of the gradient of the slope of the group's head `g`.
template <class Traits>
TW_DEVICE float* slope_partial(const Backward& p, const KeyBlock& block, int32 g) {
  const int64 tiles = key_tiles(p.shape, p.plan.tiles);
  const int64 head = int64{block.b} * p.shape.heads + block.head(g);
  return p.workspace.slopes + ((head * tiles + block.tile) * Traits::kWarps + warp_index());
}

template <class Traits>
TW_DEVICE void clear_slope_partials(const Backward& p, const KeyBlock& block) {
  if (lane_index() != 0) return;
  for (int32 g = 0; g < block.heads; ++g) *slope_partial<Traits>(p, block, g) = 0;
}

template <class Traits>
TW_DEVICE void add_slope_partial(const Backward& p, const PatchContext& context, int32 g,
                                 typename Traits::Scores& gradients) {
  float partial = 0;
  score::for_each_distance(context.patch.corner(), context.block.band.diagonal, gradients,
                           [&](float gradient, float away) { partial -= gradient * away; });
  const float sum = warp_sum(partial);
  if (lane_index() == 0) *slope_partial<Traits>(p, context.block, g) += sum;
}

// Adds to the bias's gradient in tiles, in the order of the accumulators, so that a warp's atomics
// go to contiguous memory. Scores that do not exist add zeros.
template <class Traits>
TW_DEVICE void add_bias_gradient_to_tile(const Workspace& to, const PatchContext& context,
                                         typename Traits::Scores& gradients) {
  const SumOrder order{Traits::kThreads, adds_four()};
  const Axes& stride = to.bias_stride;
  float* tile = to.bias + (context.block.b * stride.batch + context.h * stride.head +
                           context.patch.query / Traits::kTiles.queries * stride.row +
                           context.block.tile * stride.column);
  float* first = tile + order.place(0, thread_index_anew(), 0);
  gradients.each_piece([&](float(&four)[4], int32 m, int32 n) {
    add_in_order<Traits>(first, m * Traits::Scores::kAcross + n, four);
  });
}

// Adds the gradients of bias and slopes, in featured kernels.
template <class Traits>
TW_DEVICE void add_feature_gradients(const Backward& p, const PatchContext& context, int32 g,
                                     typename Traits::Scores& gradients) {
  constexpr uint32 kFeatures = Traits::kFeatures;
  if constexpr ((kFeatures & score::kBiasGradient) != 0)
    if (score::asks<kFeatures>(p.scoring, score::kBiasGradient))
      add_bias_gradient_to_tile<Traits>(p.workspace, context, gradients);
  if constexpr ((kFeatures & score::kSlopesGradient) != 0)
    if (score::asks<kFeatures>(p.scoring, score::kSlopesGradient))
      add_slope_partial<Traits>(p, context, g, gradients);
}

// Adds gradients of bias and slopes in general kernels; then applies the softcap's derivative.
template <class Traits>
TW_DEVICE void add_general_gradients(const Backward& p, const PatchContext& context, int32 g,
                                     typename Traits::Scores& gradients, Shaping<Traits>& shaping) {
  if (p.workspace.bias) add_bias_gradient(p.workspace, context, gradients);
  if (p.workspace.slopes) add_slope_partial<Traits>(p, context, g, gradients);
  if (score::asks<Traits::kFeatures>(p.scoring, score::kSoftcap))
    multiply_each(gradients, shaping.softcap_derivatives.at);
}

}  // namespace tilewise::cuda::sm80
