// Scores of a warp's queries with a tile of keys: the product, then features, then masks. Without
// features that shape scores, scores stay plain products, and score::weigh multiplies them by
// Measure::factor.
#pragma once

#include "backends/cuda/kernels/score/bias.h"
#include "backends/cuda/kernels/sm80/load.h"

namespace tilewise::cuda::sm80 {

// The warp's queries as fragments, in registers or read from shared memory at each use.
template <class Traits>
struct Query {
  static constexpr int32 kSteps = Traits::kHoldsQuery ? Traits::kDim / 16 : 1;
  SharedAddress lane;
  Fragment fragments[Traits::kDown][kSteps];

  TW_DEVICE Fragment read(int32 m, int32 k) const {
    return load_matrices(Traits::QueryTile::moved(lane, m * 16, k));
  }

  // Call this when the copies of the queries have arrived.
  TW_DEVICE void load_fragments() {
    if constexpr (Traits::kHoldsQuery) {
      TW_UNROLL
      for (int32 m = 0; m < Traits::kDown; ++m) {
        TW_UNROLL
        for (int32 k = 0; k < kSteps; ++k) fragments[m][k] = read(m, k);
      }
    }
  }

  TW_DEVICE Fragment operator()(int32 m, int32 k) const {
    if constexpr (Traits::kHoldsQuery) {
      return fragments[m][k];
    } else {
      return read(m, k);
    }
  }
};

// scores = query * key. `key` is where the lane begins to read the tile, by Tile::across.
template <class Traits>
TW_DEVICE void score(const Query<Traits>& query, SharedAddress key,
                     typename Traits::Scores& scores) {
  scores.clear();
  Traits::ScoreProduct::add(scores, query, [&](int32 n, int32 k) {
    return load_matrices(Traits::KeyTile::moved(key, n * 16, k));
  });
}

// What a warp sees of a tile of keys: whether anything (some); whether everything, apart from the
// boolean mask (all); and the warp's bits of that mask.
template <class Traits>
struct Sight {
  bool some, all;
  typename Traits::VisibleBits visible;
};

// The warp's first row, and the tile of keys.
struct TileCorner {
  int32 row;
  Walked keys;

  TW_DEVICE score::Corner<score::Lie::kQueriesDown> of_lane() const {
    return score::Corner<score::Lie::kQueriesDown>::of(row, keys.first,
                                                       thread_index_anew() & (kWarp - 1));
  }
};

template <class Traits>
TW_DEVICE TileCorner corner_of(const Head& head, Walked keys) {
  const int32 warp = Traits::thread() / kWarp;
  return {static_cast<int32>(head.rows.begin) + warp * Traits::kRowsOfWarp, keys};
}

// Adds a bias that is read element by element.
template <class Traits, class Numbers>
TW_DEVICE void add_each_bias(const Forward& p, const Head& head, TileCorner corner,
                             Numbers& numbers, typename Traits::Scores& scores) {
  constexpr int32 kHalf = Traits::kKeys / 2;
  TW_UNROLL
  for (int32 half = 0; half < 2; ++half) {
    const int32 key = corner.keys.first + half * kHalf;
    score::gather_bias({p.scoring.bias, head.b, head.h, corner.row, key,
                        static_cast<int32>(head.rows.end) - corner.row,
                        static_cast<int32>(head.keys.length) - key},
                       numbers);
    score::add_gathered(numbers, half * kHalf / 8, scores);
  }
}

// Adds a bias that was prefetched to a tile.
template <class Traits, class BiasTile>
TW_DEVICE void add_bias_tile(const BiasTile& tile, typename Traits::Scores& scores) {
  const int32 rows_before = warp_index() * Traits::kRowsOfWarp * BiasTile::kRowBytes;
  const SharedAddress lane = BiasTile::down(shared_address(&tile), lane_index()) + rows_before;
  score::add_bias<Traits::kType, BiasTile>(lane, scores);
}

template <class Traits>
TW_DEVICE void add_bias(const Forward& p, typename Traits::Memory& memory, TileCorner corner,
                        typename Traits::Scores& scores) {
  const int32 stage = stage_of<Traits>(corner.keys);
  if constexpr (Traits::kIsFeatured) {
    if constexpr ((Traits::kFeatures & score::kBias) != 0)
      add_bias_tile<Traits>(memory.extras.bias.at[stage], scores);
  } else {
    auto& buffers = memory.extras.stage[stage];
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBiasPieces))
      return add_bias_tile<Traits>(buffers.bias, scores);
    add_each_bias<Traits>(p, memory.head, corner, buffers.numbers[warp_index()], scores);
  }
}

// Applies scale, softcap, ALiBi and bias, if asked for. Returns which `Known` the scores then are,
// and their upper bound if softcap gives one.
template <class Traits>
TW_DEVICE score::Bounded shape(const Forward& p, typename Traits::Memory& memory, TileCorner corner,
                               typename Traits::Scores& scores) {
  constexpr uint32 kFeatures = Traits::kFeatures;
  using score::Known;
  const score::Scoring& scoring = p.scoring;
  if (!score::asks<kFeatures>(scoring, score::kShaping)) return {Known::kNothing};
  const bool has_alibi = score::asks<kFeatures>(scoring, score::kAlibi);
  const bool has_bias = score::asks<kFeatures>(scoring, score::kBias);
  const bool has_cap = score::asks<kFeatures>(scoring, score::kSoftcap);
  float most = core::infinity<float>();
  score::NoDerivatives none;
  if (has_cap)
    most = score::cap_all(scoring, scores, none);
  else if (has_bias)
    score::scale_within(scoring, scores);
  else if (!has_alibi)
    score::scale(scoring, scores);
  const float factor = has_cap || has_bias ? 1 : scoring.factor;
  const score::Distances distances{
      memory.extras.asked.slope, {corner.row, corner.keys.first}, memory.head.band.diagonal};
  if (has_alibi && has_bias)
    score::add_distances<true>(distances, factor, scores);
  else if (has_alibi)
    score::add_distances<false>(distances, factor, scores);
  if (has_bias) add_bias<Traits>(p, memory, corner, scores);
  if (has_bias) return {Known::kFinite};
  if (has_cap && !has_alibi) return {Known::kHeld, most};
  return {Known::kNothing};
}

// Whether the page table names no valid page for some key of the tile.
template <class Traits>
TW_DEVICE bool lacks_pages(const Forward& p, const KeySpot (&spots)[Traits::kKeys]) {
  if (!p.keys.paged()) return false;
  bool lacks = false;
  for (int32 i = lane_index(); i < Traits::kKeys; i += kWarp)
    lacks = lacks || spots[i].page == kNoPage;
  return warp_any(lacks);
}

// Applies the masks other than the band, and hides keys without a page, in general variants.
template <class Traits>
TW_DEVICE void hide(const Forward& p, typename Traits::Memory& memory, TileCorner corner,
                    typename Traits::Scores& scores) {
  constexpr uint32 kFeatures = Traits::kFeatures;
  const Head& head = memory.head;
  if (score::asks<kFeatures>(p.scoring, score::kVisible)) {
    auto& visible = memory.extras.stage[stage_of<Traits>(corner.keys)].visible[warp_index()];
    if (score::asks<kFeatures>(p.scoring, score::kVisiblePieces))
      visible.pack(lane_index());
    else
      visible.gather(visible_of<Traits>(p.scoring, head, corner.keys.first), lane_index());
    score::hide_masked(visible, lane_index(), scores);
  }
  if (score::asks<kFeatures>(p.scoring, score::kBlocks))
    score::hide_blocks<score::Lie::kQueriesDown>(memory.extras.asked.blocks, head.band, corner.row,
                                                 corner.keys.first, scores);
  const auto& spots = memory.extras.spots[corner.keys.index % 4];
  if (!lacks_pages<Traits>(p, spots)) return;
  const int32 origin = 2 * (lane_index() & 3);
  score::for_each_row_of_lane<typename Traits::Scores>([&](int32 r) {
    scores.each_of_row(r, [&](float& score, int32 column) {
      if (spots[origin + column].page < 0) score::hide(score);
    });
  });
}

// Hides what the band hides, and keys beyond the last one. Each lane asks the band about one row,
// and a shuffle distributes the answers. The two ends of the band are tested separately, because
// most tiles are cut by one of them only.
template <class Traits>
TW_DEVICE void hide_band(const Forward& p, const core::Band& band, TileCorner corner,
                         typename Traits::Scores& scores) {
  const int32 lane = thread_index_anew() & (kWarp - 1), across = 2 * (lane & 3);
  const int32 row = p.prepared.heads_in_tile.divide(corner.row + lane % Traits::kRowsOfWarp);
  const Range seen = band.visible_keys(row);
  const int32 begin = static_cast<int32>(seen.begin) - corner.keys.first;
  const int32 end = static_cast<int32>(seen.end) - corner.keys.first;
  if (warp_any(end < Traits::kKeys)) {
    score::for_each_row_of_lane<typename Traits::Scores>([&](int32 r) {
      const int32 left = brought_by(r * 8 + lane / 4, end) - across;
      scores.each_of_row(r, [&](float& score, int32 column) {
        if (column >= left) score::hide(score);
      });
    });
  }
  if (!warp_any(begin > 0)) return;
  score::for_each_row_of_lane<typename Traits::Scores>([&](int32 r) {
    const int32 skipped = brought_by(r * 8 + lane / 4, begin) - across;
    scores.each_of_row(r, [&](float& score, int32 column) {
      if (column < skipped) score::hide(score);
    });
  });
}

// Applies features and masks, the band only if the warp does not see the whole tile. Returns the
// result of `shape` (kNothing if it is not called), or kHeld if scores were clamped before masking.
template <class Traits>
TW_DEVICE score::Bounded finish_scores(const Forward& p, typename Traits::Memory& memory,
                                       TileCorner corner, const Sight<Traits>& sight,
                                       typename Traits::Scores& scores) {
  using score::Known;
  score::Bounded known{Known::kNothing};
  bool masks = !sight.all;
  if constexpr (Traits::kIsGeneral || Traits::kIsFeatured)
    known = shape<Traits>(p, memory, corner, scores);
  if constexpr (Traits::kIsGeneral)
    masks = masks || p.keys.paged() ||
            score::asks<Traits::kFeatures>(p.scoring, score::kVisible | score::kBlocks);
  // Clamps even if the mask hides nothing: testing for that first would cost registers.
  if constexpr (Traits::kHoldsVisible)
    masks = masks || score::asks<Traits::kFeatures>(p.scoring, score::kVisible);
  if (masks && known.known == Known::kNothing) {
    score::hold(scores, p.scoring.measure);
    known.known = Known::kHeld;
  }
  if (!sight.all) hide_band<Traits>(p, memory.head.band, corner, scores);
  if constexpr (Traits::kIsGeneral) hide<Traits>(p, memory, corner, scores);
  if constexpr (Traits::kHoldsVisible) {
    if (score::asks<Traits::kFeatures>(p.scoring, score::kVisible) &&
        score::hides_some(sight.visible))
      score::hide_unseen(sight.visible, scores);
  }
  return known;
}

}  // namespace tilewise::cuda::sm80
