// The scores of one visit: products of keys and queries, weights, and gradients of scores.
#pragma once

#include "backends/cuda/kernels/sm80/backward_partials.h"
#include "backends/cuda/kernels/sm80/backward_visit.h"

namespace tilewise::cuda::sm80 {

// The addresses at which a lane begins to read the tile of keys. For another tile of kDim columns,
// add that tile's offset in Memory (kValueAt, for example).
template <class Traits>
struct LanePlaces {
  using KeyTile = typename Traits::KeyTile;
  SharedAddress down, across;  // in the tile of keys, which comes first in shared memory
  SharedAddress known_from_keys;

  TW_DEVICE explicit LanePlaces(typename Traits::Memory& memory) {
    const SharedAddress begin = shared_address(&memory);
    const bool is_new = Traits::is_tight() && is_sm10x();
    const int32 lane = is_new ? thread_index_anew() % kWarp : lane_index();
    down = KeyTile::down(begin, lane);
    across = KeyTile::across(begin, lane);
    known_from_keys = from_keys(warp_index());
  }

  // Address `down`, moved to the warp's own keys.
  TW_DEVICE SharedAddress down_from_keys() const {
    if (Traits::is_tight()) return from_keys(thread_index_anew() / kWarp);
    return known_from_keys;
  }

 private:
  TW_DEVICE SharedAddress from_keys(int32 warp) const {
    return down + warp / Traits::kTiles.query_warps * Traits::kKeysOfWarp * KeyTile::kRowBytes;
  }
};

// A lane's addresses in the tiles of scores. Recomputed at each visit: registers are scarce.
template <class Traits>
struct ScoreTilePlaces {
  using ScoreTile = typename Traits::ScoreTile;
  SharedAddress down;    // from the warp's keys on
  SharedAddress across;  // from the queries on whose gradient the warp computes

  TW_DEVICE explicit ScoreTilePlaces(const typename Traits::Memory& memory) {
    constexpr BackwardShape kTiles = Traits::kTiles;
    const auto thread = static_cast<uint32>(thread_index_anew());
    const auto lane = static_cast<int32>(thread % kWarp), warp = static_cast<int32>(thread / kWarp);
    const SharedAddress begin = shared_address(&memory.score_tiles);
    down = ScoreTile::down(begin, lane) +
           warp / kTiles.query_warps * Traits::kKeysOfWarp * ScoreTile::kRowBytes;
    across = ScoreTile::moved(ScoreTile::across(begin, lane), 0,
                              warp / kTiles.warps_across() * kTiles.gradient_down());
  }
};

// Where a lane finds the data of the current visit.
template <class Traits>
struct VisitPlaces {
  const LanePlaces<Traits>& lane;
  Visit visit;
  int32 known_query;
  Cover known_cover;
  int32 stage;
  SharedAddress query_down, query_across;  // as in LanePlaces, in the visit's tiles
  SharedAddress incoming_down, incoming_across;

  TW_DEVICE VisitPlaces(const LanePlaces<Traits>& places, const CurrentVisit& now, int32 of_stage)
      : lane(places),
        visit(now.visit),
        known_query(now.query),
        known_cover(now.cover),
        stage(of_stage) {
    constexpr int32 kBytes = Traits::QueryTile::kBytes;
    const int32 queries = Traits::kQueryAt + stage * kBytes;
    const int32 incoming =
        Traits::kIncomingAt + (Traits::kTiles.incoming_stages == 2 ? stage * kBytes : 0);
    query_down = lane.down + queries;
    query_across = lane.across + queries;
    incoming_down = lane.down + incoming;
    incoming_across = lane.across + incoming;
  }

  // The first query of the tile.
  TW_DEVICE int32 query(const Backward& p, const KeyBlock& block) const {
    return Traits::keeps_query() ? known_query : visit.tile(p, block) * Traits::kTiles.queries;
  }

  // The cover of the warp's patch that begins at row `row` of the tile.
  TW_DEVICE Cover cover(const typename Traits::Memory& memory, int32 first_query, int32 row) const {
    if constexpr (Traits::kLooksAhead && Traits::kPatchesOfWarp == 1) return known_cover;
    return cover_of<Traits>(memory, first_query, row);
  }
};

// The result of a patch: weights and gradients of scores, rounded to the inputs' type.
template <class Traits>
struct PatchResult {
  typename Traits::Pairs weights, at_scores;
};

// sums += left * right. `left` is the lane's address in the tile of keys or values; `right` is its
// address in that of queries or incoming gradients, which are read from row `row` on.
template <class Traits>
TW_DEVICE void add_scores(SharedAddress left, SharedAddress right, int32 row,
                          typename Traits::Scores& sums) {
  Traits::ScoreProduct::add(
      sums,
      [&](int32 m, int32 k) { return load_matrices(Traits::KeyTile::moved(left, m * 16, k)); },
      [&](int32 n, int32 k) {
        return load_matrices(
            Traits::QueryTile::moved(right + row * Traits::QueryTile::kRowBytes, n * 16, k));
      });
}

// Calls body(pair, m, n, half) for each pair of elements that a lane has in a tile of scores. The
// key of half 1 is eight rows below that of half 0; such rows have the same swizzle, so that most
// offsets are constants.
template <class Traits, class Body>
TW_DEVICE void for_each_pair(typename Traits::ScoreTile& score_tile, int32 first_row,
                             const Body& body) {
  using ScoreTile = typename Traits::ScoreTile;
  const auto thread = static_cast<uint32>(thread_index_anew());
  const auto lane = static_cast<int32>(thread % kWarp), warp = static_cast<int32>(thread / kWarp);
  const int32 key = warp / Traits::kTiles.query_warps * Traits::kKeysOfWarp + lane / 4;
  TW_UNROLL
  for (int32 n = 0; n < Traits::kAcross; ++n) {
    uint8* first = score_tile.bytes + (ScoreTile::place(key, first_row / 8 + n) + lane % 4 * 4);
    TW_UNROLL
    for (int32 m = 0; m < Traits::kDown; ++m) {
      TW_UNROLL
      for (int32 half = 0; half < 2; ++half)
        body(*reinterpret_cast<uint32*>(first + (m * 16 + half * 8) * ScoreTile::kRowBytes), m, n,
             half);
    }
  }
}

// Stores a warp's patch in a tile of scores, for other warps to read.
template <class Traits>
TW_DEVICE void store_tile(typename Traits::ScoreTile& score_tile, int32 first_row,
                          const typename Traits::Pairs& pairs) {
  for_each_pair<Traits>(score_tile, first_row, [&](uint32& pair, int32 m, int32 n, int32 half) {
    pair = pairs.at[m][n][half];
  });
}

// Stores zeros as weights and gradients, for a patch without visible scores.
template <class Traits>
TW_DEVICE void store_zeros(typename Traits::Memory& memory, int32 first_row) {
  for (auto& score_tile : memory.score_tiles)
    for_each_pair<Traits>(score_tile, first_row,
                          [](uint32& pair, int32, int32, int32) { pair = 0; });
}

// Stores weights, if other warps read them and kStoresWeightsEarly is `early`.
template <class Traits, bool early>
TW_DEVICE void store_weights(typename Traits::Memory& memory, int32 first_row,
                             const typename Traits::Pairs& weights) {
  if constexpr (Traits::kExchangesWeights && Traits::kStoresWeightsEarly == early)
    store_tile<Traits>(memory.score_tiles[1], first_row, weights);
}

// Adjusts the scores of rows apart, in a patch whose tile has some.
template <class Traits>
TW_DEVICE void shift_apart(const Backward& p, const typename Traits::Memory& memory,
                           const PatchContext& context, typename Traits::Scores& scores) {
  score::Measure measure = p.scoring.measure;
  // shape() has clamped the scores, except for -infinity from a bias, which must stay.
  if (is_shaped<Traits>(p.scoring)) measure.limit = core::infinity<float>();
  const int32 query = context.patch.corner().query;
  if constexpr (Traits::kIsShort)
    return shift_apart(
        memory.of_short.at[0].apart + (query - context.patch.query + context.patch.row), measure,
        scores);
  else
    shift_apart(p.workspace.apart + context.block.padded(p.workspace, context.h, query), measure,
                scores);
}

TW_DEVICE bool has_apart(const TileNumbers& tile) {
  return tile.has_apart != 0;
}

// Turns products into the scores that weigh() takes. One branch serves rows apart and patches that
// the band cuts; in a patch that the band does not cut, hide_band changes no visible score.
template <class Traits>
TW_DEVICE void shape_and_hide(const Backward& p, typename Traits::Memory& memory,
                              const PatchContext& context, typename Traits::Scores& scores,
                              Shaping<Traits>& shaping) {
  if constexpr (!Traits::kIsFeatured && (Traits::kFeatures & score::kShaping) != 0)
    if (is_shaped<Traits>(p.scoring)) shape<Traits>(p.scoring, memory, context, scores, shaping);
  const bool is_apart = has_apart(memory.rows[context.stage].tile);
  if (is_apart || context.patch.cover == Cover::kSome) {
    if (is_apart) shift_apart<Traits>(p, memory, context, scores);
    score::hide_band(context.block.band, context.patch.corner(), scores);
  }
  if constexpr (Traits::kFeatures != 0) hide_by_masks<Traits>(memory, p.scoring, context, scores);
}

// Turns products into score - lse + above_lse(), for weigh_distances, in featured kernels with
// softcap, ALiBi or bias.
template <class Traits>
TW_DEVICE void shape_from_lse(const Backward& p, typename Traits::Memory& memory,
                              const PatchContext& context, typename Traits::Scores& scores,
                              Shaping<Traits>& shaping) {
  const bool is_apart = has_apart(memory.rows[context.stage].tile);
  if (allow_fast_shaping<Traits>(p.scoring, scores) && !is_apart) {
    shape_fast<Traits>(p.scoring, memory, context, scores, shaping);
  } else {
    shape<Traits>(p.scoring, memory, context, scores, shaping);
    if (is_apart) shift_apart<Traits>(p, memory, context, scores);
    for_each_with(shaping.lse, scores,
                  [](float& score, float of_row) { score += above_lse<Traits>() - of_row; });
  }
  if (context.patch.cover == Cover::kSome)
    score::hide_band(context.block.band, context.patch.corner(), scores);
  hide_by_masks<Traits>(memory, p.scoring, context, scores);
}

// Turns products into weights.
template <class Traits>
TW_DEVICE void make_weights(const Backward& p, typename Traits::Memory& memory,
                            const PatchContext& context, typename Traits::Scores& scores,
                            Shaping<Traits>& shaping) {
  if constexpr (Traits::kIsFeatured && (Traits::kFeatures & score::kShaping) != 0) {
    if (is_shaped<Traits>(p.scoring)) {
      shape_from_lse<Traits>(p, memory, context, scores, shaping);
      return weigh_distances<Traits>(scores);
    }
  }
  shape_and_hide<Traits>(p, memory, context, scores, shaping);
  weigh<Traits>(shaping.lse, p.scoring.measure.factor, scores);
}

// Computes the weights of a patch and the gradients of its scores.
template <class Traits>
TW_DEVICE void differentiate(const Backward& p, typename Traits::Memory& memory,
                             const VisitPlaces<Traits>& now, const Patch& patch,
                             PatchResult<Traits>& pairs) {
  typename Traits::Scores scores, at_weights;
  Shaping<Traits> shaping;
  const PatchContext context{memory.block, patch, memory.block.head(now.visit.g), now.stage};
  const int32 row = patch.row + 2 * (thread_index_anew() & 3);
  shaping.lse = memory.rows[now.stage].lse + row;
  const float* minus_delta = memory.rows[now.stage].minus_delta + row;
  if constexpr (Traits::kPrefetchesBias)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBias))
      load_bias(p.scoring.bias, context, shaping.bias);
  scores.clear();
  const SharedAddress keys = now.lane.down_from_keys();
  add_scores<Traits>(keys, now.query_across, patch.row, scores);
  make_weights<Traits>(p, memory, context, scores, shaping);
  const bool drops = score::asks<Traits::kFeatures>(p.scoring, score::kDropout);
  if constexpr ((Traits::kFeatures & score::kDropout) != 0)
    if (drops) mark_dropped(context, scores);
  round_weights<Traits>(drops, scores, pairs.weights);
  store_weights<Traits, true>(memory, patch.row, pairs.weights);
  if constexpr (Traits::kIsFeatured)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kSoftcap))
      multiply_by_softcap_derivatives<Traits>(shaping, scores);
  begin_with(minus_delta, drops, at_weights);
  add_scores<Traits>(keys + Traits::kValueAt, now.incoming_across, patch.row, at_weights);
  if (drops)
    multiply_kept(minus_delta, p.factors.keep, scores, at_weights);
  else
    multiply_each(scores, at_weights);
  if constexpr (Traits::kIsGeneral)
    add_general_gradients<Traits>(p, context, now.visit.g, scores, shaping);
  if constexpr (Traits::kIsFeatured) add_feature_gradients<Traits>(p, context, now.visit.g, scores);
  round_pairs<Traits>(scores, pairs.at_scores);
}

}  // namespace tilewise::cuda::sm80
