// The scores of one turn: from products of keys and queries to weights, and to gradients of scores.
#pragma once

#include "backends/cuda/kernels/sm80/backward_shares.h"
#include "backends/cuda/kernels/sm80/backward_turn.h"

namespace tilewise::cuda::sm80 {

// From where a lane reads fragments. Tiles of kDim columns lie alike, and so do both squares.
template <class Traits>
struct LanePlaces {
  using KeyTile = typename Traits::KeyTile;
  SharedAddress down, across;  // of the first tile of keys
  SharedAddress known_from_keys;

  TW_DEVICE explicit LanePlaces(typename Traits::Memory& memory) {
    const SharedAddress begin = shared_address(&memory);
    const bool is_new = Traits::kIsTight && kArchitecture == 100;
    const int32 lane = is_new ? thread_index_anew() % kWarp : lane_index();
    down = KeyTile::down(begin, lane);
    across = KeyTile::across(begin, lane);
    known_from_keys = from_keys(warp_index());
  }

  // From the warp's own keys on.
  TW_DEVICE SharedAddress down_from_keys() const {
    if constexpr (Traits::kIsTight) return from_keys(thread_index_anew() / kWarp);
    return known_from_keys;
  }

 private:
  TW_DEVICE SharedAddress from_keys(int32 warp) const {
    return down + warp / Traits::kTiles.query_warps * Traits::kKeysOfWarp * KeyTile::kRowBytes;
  }
};

// The same of the squares, once a turn: it is worked out anew, for registers are scarce.
template <class Traits>
struct SquarePlaces {
  using Square = typename Traits::Square;
  SharedAddress down;    // from the warp's keys on
  SharedAddress across;  // from the queries on that the warp has of the query's gradient

  TW_DEVICE explicit SquarePlaces(const typename Traits::Memory& memory) {
    constexpr BackwardShape kTiles = Traits::kTiles;
    const auto thread = static_cast<uint32>(thread_index_anew());
    const auto lane = static_cast<int32>(thread % kWarp), warp = static_cast<int32>(thread / kWarp);
    const SharedAddress begin = shared_address(&memory.squares);
    down = Square::down(begin, lane) +
           warp / kTiles.query_warps * Traits::kKeysOfWarp * Square::kRowBytes;
    across = Square::moved(Square::across(begin, lane), 0,
                           warp / kTiles.warps_across() * kTiles.gradient_down());
  }
};

// What a block works with in one turn.
template <class Traits>
struct TurnPlaces {
  const LanePlaces<Traits>& lane;
  Turn turn;
  int32 known_query;
  Cover known_cover;
  int32 stage;
  SharedAddress query_down, query_across;  // from where the lane reads the turn's queries
  SharedAddress incoming_down, incoming_across;

  TW_DEVICE TurnPlaces(const LanePlaces<Traits>& places, const AtHand& now, int32 of_stage)
      : lane(places),
        turn(now.turn),
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

  // The tile's first query.
  TW_DEVICE int32 query(const Backward& p, const KeyBlock& block) const {
    return Traits::kKeepsQuery ? known_query : turn.tile(p, block) * Traits::kTiles.queries;
  }

  // Of the warp's patch that begins at row `row` of the tile.
  TW_DEVICE Cover cover(const typename Traits::Memory& memory, int32 first_query, int32 row) const {
    if constexpr (Traits::kKnowsPlaces && Traits::kTimes == 1) return known_cover;
    return cover_of<Traits>(memory, first_query, row);
  }
};

// What comes of a patch: weights, and gradients of scores, both rounded.
template <class Traits>
struct PatchPairs {
  typename Traits::Pairs weights, at_scores;
};

// sums += rows of keys or values, from `left` on, times rows of queries or gradients, `row` and on.
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

// Calls body(place, m, n, half) for where a warp's pairs lie in a square, from its first row on.
// Eights of rows change their pieces alike, so that most of a place is known at compile time.
template <class Traits, class Body>
TW_DEVICE void for_each_pair(typename Traits::Square& square, int32 first_row, const Body& body) {
  using Square = typename Traits::Square;
  const auto thread = static_cast<uint32>(thread_index_anew());
  const auto lane = static_cast<int32>(thread % kWarp), warp = static_cast<int32>(thread / kWarp);
  const int32 key = warp / Traits::kTiles.query_warps * Traits::kKeysOfWarp + lane / 4;
  TW_UNROLL
  for (int32 n = 0; n < Traits::kAcross; ++n) {
    uint8* first = square.bytes + (Square::place(key, first_row / 8 + n) + lane % 4 * 4);
    TW_UNROLL
    for (int32 m = 0; m < Traits::kDown; ++m) {
      TW_UNROLL
      for (int32 half = 0; half < 2; ++half)
        body(*reinterpret_cast<uint32*>(first + (m * 16 + half * 8) * Square::kRowBytes), m, n,
             half);
    }
  }
}

// A warp's part of a square, for all warps.
template <class Traits>
TW_DEVICE void share(typename Traits::Square& square, int32 first_row,
                     const typename Traits::Pairs& pairs) {
  for_each_pair<Traits>(square, first_row, [&](uint32& pair, int32 m, int32 n, int32 half) {
    pair = pairs.at[m][n][half];
  });
}

// The same of queries that see nothing.
template <class Traits>
TW_DEVICE void share_nothing(typename Traits::Memory& memory, int32 first_row) {
  for (auto& square : memory.squares)
    for_each_pair<Traits>(square, first_row, [](uint32& pair, int32, int32, int32) { pair = 0; });
}

// Of weights, where they are shared, and this is when.
template <class Traits, bool early>
TW_DEVICE void share_weights(typename Traits::Memory& memory, int32 first_row,
                             const typename Traits::Pairs& weights) {
  if constexpr (Traits::kShares && Traits::kSharesEarly == early)
    share<Traits>(memory.squares[1], first_row, weights);
}

// Of a patch in whose tile some rows are apart.
template <class Traits>
TW_DEVICE void take_apart(const Backward& p, const typename Traits::Memory& memory,
                          const PatchOf& of, typename Traits::Scores& scores) {
  score::Measure measure = p.scoring.measure;
  // What shapes scores has held them, and left -inf of a bias as it is.
  if (is_shaped<Traits>(p.scoring)) measure.limit = core::infinity<float>();
  const int32 query = of.patch.corner().query;
  if constexpr (Traits::kIsShort)
    return take_apart(memory.of_short.at[0].apart + (query - of.patch.query + of.patch.row),
                      measure, scores);
  else
    take_apart(p.between.apart + of.block.padded(p.between, of.h, query), measure, scores);
}

TW_DEVICE bool has_apart(const TileNumbers& tile) {
  return tile.has_apart != 0;
}

// From products to what the weights are made of. What seldom comes shares one branch.
template <class Traits>
TW_DEVICE void shape_and_hide(const Backward& p, typename Traits::Memory& memory, const PatchOf& of,
                              typename Traits::Scores& scores, Shaping<Traits>& shaping) {
  if constexpr (!Traits::kIsFeatured && (Traits::kFeatures & score::kShaping) != 0)
    if (is_shaped<Traits>(p.scoring)) shape<Traits>(p.scoring, memory, of, scores, shaping);
  const bool is_apart = has_apart(memory.rows[of.stage].tile);
  if (is_apart || of.patch.cover == Cover::kSome) {
    if (is_apart) take_apart<Traits>(p, memory, of, scores);
    score::hide_band(of.block.band, of.patch.corner(), scores);
  }
  if constexpr (Traits::kFeatures != 0) hide_by_masks<Traits>(memory, p.scoring, of, scores);
}

// The same of a kernel that has features compiled in, where something shapes scores: as far as they
// lie from their row's lse.
template <class Traits>
TW_DEVICE void shape_from_lse(const Backward& p, typename Traits::Memory& memory, const PatchOf& of,
                              typename Traits::Scores& scores, Shaping<Traits>& shaping) {
  const bool is_apart = has_apart(memory.rows[of.stage].tile);
  if (are_usual<Traits>(p.scoring, scores) && !is_apart) {
    shape_by_few<Traits>(p.scoring, memory, of, scores, shaping);
  } else {
    shape<Traits>(p.scoring, memory, of, scores, shaping);
    if (is_apart) take_apart<Traits>(p, memory, of, scores);
    for_each_with(shaping.lse, scores,
                  [](float& score, float of_row) { score += above_lse<Traits>() - of_row; });
  }
  if (of.patch.cover == Cover::kSome) score::hide_band(of.block.band, of.patch.corner(), scores);
  hide_by_masks<Traits>(memory, p.scoring, of, scores);
}

// Products to weights.
template <class Traits>
TW_DEVICE void make_weights(const Backward& p, typename Traits::Memory& memory, const PatchOf& of,
                            typename Traits::Scores& scores, Shaping<Traits>& shaping) {
  if constexpr (Traits::kIsFeatured && (Traits::kFeatures & score::kShaping) != 0) {
    if (is_shaped<Traits>(p.scoring)) {
      shape_from_lse<Traits>(p, memory, of, scores, shaping);
      return weigh_distances<Traits>(scores);
    }
  }
  shape_and_hide<Traits>(p, memory, of, scores, shaping);
  weigh<Traits>(shaping.lse, p.scoring.measure.factor, scores);
}

// The weights of a patch, and the gradients of its scores.
template <class Traits>
TW_DEVICE void differentiate(const Backward& p, typename Traits::Memory& memory,
                             const TurnPlaces<Traits>& now, const Patch& patch,
                             PatchPairs<Traits>& pairs) {
  typename Traits::Scores scores, at_weights;
  Shaping<Traits> shaping;
  const PatchOf of{memory.block, patch, memory.block.head(now.turn.g), now.stage};
  const int32 row = patch.row + 2 * (thread_index_anew() & 3);
  shaping.lse = memory.rows[now.stage].lse + row;
  const float* minus_delta = memory.rows[now.stage].minus_delta + row;
  if constexpr (Traits::kBiasAhead)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kBias))
      load_bias(p.scoring.bias, of, shaping.bias);
  scores.clear();
  const SharedAddress keys = now.lane.down_from_keys();
  add_scores<Traits>(keys, now.query_across, patch.row, scores);
  make_weights<Traits>(p, memory, of, scores, shaping);
  const bool drops = score::asks<Traits::kFeatures>(p.scoring, score::kDropout);
  if constexpr ((Traits::kFeatures & score::kDropout) != 0)
    if (drops) mark_dropped(of, scores);
  round_weights<Traits>(drops, scores, pairs.weights);
  share_weights<Traits, true>(memory, patch.row, pairs.weights);
  if constexpr (Traits::kIsFeatured)
    if (score::asks<Traits::kFeatures>(p.scoring, score::kSoftcap))
      multiply_by_slopes<Traits>(shaping, scores);
  begin_with(minus_delta, drops, at_weights);
  add_scores<Traits>(keys + Traits::kValueAt, now.incoming_across, patch.row, at_weights);
  if (drops)
    multiply_kept(minus_delta, p.factors.keep, scores, at_weights);
  else
    multiply_each(scores, at_weights);
  if constexpr (Traits::kIsGeneral) give_shares<Traits>(p, of, now.turn.g, scores, shaping);
  if constexpr (Traits::kIsFeatured) give_wanted<Traits>(p, of, now.turn.g, scores);
  round_pairs<Traits>(scores, pairs.at_scores);
}

}  // namespace tilewise::cuda::sm80
