// The compile-time description of one variant of the backward kernel: sizes, types, shared memory.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/kernels/score/shape.h"
#include "backends/cuda/kernels/score/sums.h"
#include "backends/cuda/kernels/score/visible.h"
#include "backends/cuda/kernels/sm80/backward_block.h"
#include "backends/cuda/kernels/sm80/backward_load.h"
#include "backends/cuda/kernels/sm80/product.h"

namespace tilewise::cuda::sm80 {

// What `rows` (in short kernels the block itself) computed for the queries of a tile; one stage.
template <int32 queries>
struct alignas(kPieceBytes) RowNumbers {
  float lse[queries], minus_delta[queries];
  TileNumbers tile;
};

// What a short kernel keeps in shared memory because it has no `rows` before it.
template <int32 queries, int32 warps>
struct ShortRows {
  float apart[queries];    // the lse of a row apart, or else 0
  float of_sink[queries];  // terms of a sink's gradient: row i sums those of row i of all tiles
  float warp_sums[warps];  // for sum_of_block
};

// The features that a row of the table supports by flags at run time. A featured kernel has its set
// compiled in instead.
TW_HD constexpr uint32 features_of(const BackwardShape& tiles) {
  switch (tiles.kind) {
    case BackwardKind::kGeneral:
      return score::kEveryFeature;
    case BackwardKind::kMasked:
      return score::kVisible | score::kBlocks | score::kDropout |
             (tiles.loads_mask ? uint32{score::kAlibi} : 0);
    default:
      return 0;
  }
}

template <bool is_first, class First, class Second>
struct Either {
  using Type = First;
};
template <class First, class Second>
struct Either<false, First, Second> {
  using Type = Second;
};

// A row of the table with an element type and a set of features.
template <DType type, int32 number, uint32 features = features_of(kBackwardShapes[number])>
struct BackwardTraits {
  static constexpr DType kType = type;
  static constexpr BackwardShape kTiles = kBackwardShapes[number];
  static constexpr uint32 kFeatures = features;
  static constexpr bool kIsCommon = kTiles.kind == BackwardKind::kCommon ||
                                    kTiles.kind == BackwardKind::kFew ||
                                    kTiles.kind == BackwardKind::kShort;
  static constexpr bool kIsShort = kTiles.kind == BackwardKind::kShort;
  static constexpr int32 kQueryStages = kIsShort ? kTiles.incoming_stages : 2;
  static constexpr bool kIsGeneral = kTiles.kind == BackwardKind::kGeneral;
  static constexpr bool kIsFeatured = kTiles.kind == BackwardKind::kFeatured;
  // Whether the addresses of the next visit's copies are computed during the current visit. That
  // takes registers.
  static constexpr bool kLooksAhead = kIsCommon || kIsFeatured;
  // Where ptxas would spill, the address of the warp's keys (if is_tight) and a visit's first query
  // (unless keeps_query) are recomputed at each use.
  TW_DEVICE_CONSTANT static bool is_tight() {
    return kTiles.query_warps == 1 && (architecture() < 90 || is_sm10x());
  }
  TW_DEVICE_CONSTANT static bool keeps_query() {
    return kLooksAhead && (!is_sm10x() || kTiles.dim != 128);
  }
  // Whether subnormal weights are kept. The gradient of a bias needs them.
  static constexpr bool kKeepsTinyWeights = kIsGeneral || (features & score::kBiasGradient) != 0;
  // Whether the bias is loaded into registers before the products, to hide its latency.
  static constexpr bool kPrefetchesBias = kIsGeneral && kTiles.dim == 128;
  static constexpr int32 kDim = kTiles.dim, kWarps = kTiles.warps(), kThreads = kTiles.threads();

  // A patch has kDown x kAcross pieces of 16 keys by 8 queries. A warp computes kPatchesOfWarp
  // patches in a visit.
  static constexpr int32 kDown = kTiles.keys / (16 * kTiles.key_warps);
  static constexpr int32 kAcross = kTiles.query_pieces;
  static constexpr int32 kKeysOfWarp = 16 * kDown, kQueriesOfPatch = 8 * kAcross;
  static constexpr int32 kPatchesOfWarp = kTiles.queries / (kQueriesOfPatch * kTiles.query_warps);
  // Whether warps exchange weights through shared memory. If not, a warp has all queries of its
  // keys, and its registers already hold the left operand (A) of the next mma.
  static constexpr bool kExchangesWeights = kTiles.query_warps > 1;
  static_assert(kPatchesOfWarp == 1 || !kExchangesWeights);
  // Whether weights go to shared memory before the gradients of scores are computed. Storing later
  // is faster, as exponentials and products then overlap, but in these variants ptxas would spill.
  static constexpr bool kStoresWeightsEarly =
      kExchangesWeights && !kIsCommon && (!kIsFeatured || (features & score::kSoftcap) != 0);

  // The queries of a visit that belong to a warp's part of the boolean mask.
  static constexpr int32 kQueriesOfWarp = kTiles.queries / kTiles.query_warps;
  static constexpr bool kLoadsMask =
      kTiles.loads_mask || (kIsFeatured && (features & score::kVisible) != 0);
  static constexpr bool kLoadsBias = kIsFeatured && (features & score::kBias) != 0;
  static constexpr bool kSkipsBlocks = kIsFeatured && (features & score::kBlocks) != 0;
  // Featured kernels pack the mask to bits when they use it, so the next tile's bytes need a stage
  // of their own. Other kernels pack it at the start of a visit, before the copy of the next tile
  // starts, and need one stage.
  static constexpr int32 kMaskStages = kIsFeatured ? 2 : 1;
  using VisibleColumns = score::VisibleColumns<kLoadsMask ? kQueriesOfWarp : 16>;
  using VisibleTile =
      typename Either<kIsFeatured, VisibleColumns,
                      score::VisibleTile<kLoadsMask ? kQueriesOfWarp : 16, 32>>::Type;

  using BiasTile = Tile<kTiles.queries, kTiles.keys>;
  using KeyTile = Tile<kTiles.keys, kDim>;
  using QueryTile = Tile<kTiles.queries, kDim>;
  using ScoreTile = Tile<kTiles.keys, kTiles.queries>;  // a row per key
  using Scores = Sums<kDown, kAcross>;
  using KeySums = Sums<kDown, kDim / (8 * kTiles.query_warps)>;
  static constexpr int32 kQueryParts = kTiles.gradient_parts();
  using QuerySums = Sums<kTiles.gradient_down(), kTiles.gradient_across() / kQueryParts>;
  // Whether compute_query_gradient has a branch that is always taken, to keep the compiler from
  // interleaving the products of keys and queries where accumulators leave few registers. The
  // branch costs up to 7 % of the time.
  static constexpr bool kSeparatesProducts = kDim > 128 || kStoresWeightsEarly;
  using ScoreProduct = Product<type, kDim / 16>;
  using KeyProduct = Product<type, (kExchangesWeights ? kTiles.queries : kQueriesOfPatch) / 16>;
  using QueryProduct = Product<type, kTiles.keys / 16>;

  // A lane's part of a patch, rounded to the inputs' type. Each word holds two adjacent queries of
  // one key: [m][n][whether the key is 8 further down].
  struct Pairs {
    uint32 at[kDown][kAcross][2];

    // The left operand of keys 16 m and queries 16 k.
    TW_DEVICE Fragment operand(int32 m, int32 k) const {
      return {{at[m][2 * k][0], at[m][2 * k][1], at[m][2 * k + 1][0], at[m][2 * k + 1][1]}};
    }
  };

  struct Memory {
    KeyTile key, value;  // at the end, their rounded gradients
    QueryTile query[kQueryStages], incoming[kTiles.incoming_stages];
    ScoreTile score_tiles[kExchangesWeights ? 2 : 1];  // gradients of scores, then weights
    RowNumbers<kTiles.queries> rows[kQueryStages];
    Several<ShortRows<kTiles.queries, kWarps>, kIsShort ? 1 : 0> of_short;
    Several<BiasTile, kLoadsBias ? 2 : 0> bias;
    Several<VisibleTile, kLoadsMask ? kMaskStages * kWarps : 0> visible;
    Several<PresentTiles, kSkipsBlocks ? kWarps : 0> present;
    KeyBlock block;
    QueryReach reach[kWarps];
  };
  // The offsets of tiles in Memory. They are aligned alike, so that a lane's offset in one tile
  // holds in the others.
  static constexpr int32 kValueAt = KeyTile::kBytes, kQueryAt = 2 * KeyTile::kBytes;
  static constexpr int32 kIncomingAt = kQueryAt + kQueryStages * QueryTile::kBytes;

  // The thread's index, for the epilogue. A short kernel reads it anew each time, so that values
  // derived from it occupy no registers during its loop over visits.
  TW_DEVICE static int32 thread() { return kIsShort ? thread_index_anew() : thread_index(); }

  static constexpr int32 kMostShared = kTiles.shared_kib * 1024;
};

}  // namespace tilewise::cuda::sm80
