// What one variant of the backward kernel is made of.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/kernels/score/shape.h"
#include "backends/cuda/kernels/score/sums.h"
#include "backends/cuda/kernels/score/visible.h"
#include "backends/cuda/kernels/sm80/backward_block.h"
#include "backends/cuda/kernels/sm80/backward_load.h"
#include "backends/cuda/kernels/sm80/product.h"

namespace tilewise::cuda::sm80 {

// Of the queries of a tile, for one stage.
template <int32 queries>
struct alignas(kPieceBytes) RowNumbers {
  float lse[queries], minus_delta[queries];
  TileNumbers tile;
};

// What no other kernel has left in the workspace for a block that has all keys of a sequence.
template <int32 queries, int32 warps>
struct ShortRows {
  float apart[queries];    // the lse of a row that is, or 0
  float of_sink[queries];  // shares of the gradient of a head's sink, by row of the tiles
  float between[warps];    // of sums of all threads
};

// What a row of the table knows, each asked for when it runs.
TW_HD constexpr uint32 features_of(const BackwardShape& tiles) {
  switch (tiles.kind) {
    case BackwardKind::kGeneral:
      return score::kEveryFeature;
    case BackwardKind::kMasked:
      return score::kVisible | score::kBlocks | score::kDropout |
             (tiles.brings_mask ? uint32{score::kAlibi} : 0);
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

// A row of the table, in a type, with features.
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
  // Whether it is worked out ahead from where a thread brings its share of a turn: where there are
  // registers for it.
  static constexpr bool kKnowsPlaces = kIsCommon || kIsFeatured;
  // Where ptxas would spill, a lane's place and a turn's first query are worked out again and
  // again.
  static constexpr bool kIsTight =
      kTiles.query_warps == 1 && (kArchitecture == 80 || kArchitecture == 100);
  static constexpr bool kKeepsQuery = kKnowsPlaces && (kArchitecture != 100 || kTiles.dim != 128);
  // Weights that are far below the normal numbers count where a bias has a gradient.
  static constexpr bool kToTheLast = kIsGeneral || (features & score::kBiasGradient) != 0;
  // Whether a bias is on its way while products are made: where there are registers for it.
  static constexpr bool kBiasAhead = kIsGeneral && kTiles.dim == 128;
  static constexpr int32 kDim = kTiles.dim, kWarps = kTiles.warps(), kThreads = kTiles.threads();

  // Of scores a warp has kDown by kAcross pieces, keys down and queries across, so many times over.
  static constexpr int32 kDown = kTiles.keys / (16 * kTiles.key_warps);
  static constexpr int32 kAcross = kTiles.query_pieces;
  static constexpr int32 kKeysOfWarp = 16 * kDown, kQueriesAtOnce = 8 * kAcross;
  static constexpr int32 kTimes = kTiles.queries / (kQueriesAtOnce * kTiles.query_warps);
  // Weights go through shared memory where a warp needs those of other warps; otherwise they are
  // left operands as they lie.
  static constexpr bool kShares = kTiles.query_warps > 1;
  static_assert(kTimes == 1 || !kShares);
  // Before gradients are made, or together with them: ptxas spills the one or the other. Together,
  // exponentials and products of gradients need not wait for each other.
  static constexpr bool kSharesEarly =
      kShares && !kIsCommon && (!kIsFeatured || (features & score::kSoftcap) != 0);

  // Of the boolean mask, a warp's part in one turn.
  static constexpr int32 kQueriesOfWarp = kTiles.queries / kTiles.query_warps;
  static constexpr bool kBringsMask =
      kTiles.brings_mask || (kIsFeatured && (features & score::kVisible) != 0);
  static constexpr bool kBringsBias = kIsFeatured && (features & score::kBias) != 0;
  static constexpr bool kSkipsBlocks = kIsFeatured && (features & score::kBlocks) != 0;
  // A mask is packed when it is used; with one tile of it, before the next comes.
  static constexpr int32 kMaskStages = kIsFeatured ? 2 : 1;
  using VisibleColumns = score::VisibleColumns<kBringsMask ? kQueriesOfWarp : 16>;
  using VisibleTile =
      typename Either<kIsFeatured, VisibleColumns,
                      score::VisibleTile<kBringsMask ? kQueriesOfWarp : 16, 32>>::Type;

  using BiasTile = Tile<kTiles.queries, kTiles.keys>;
  using KeyTile = Tile<kTiles.keys, kDim>;
  using QueryTile = Tile<kTiles.queries, kDim>;
  using Square = Tile<kTiles.keys, kTiles.queries>;  // of scores, a row a key
  using Scores = Sums<kDown, kAcross>;
  using KeySums = Sums<kDown, kDim / (8 * kTiles.query_warps)>;
  static constexpr int32 kQueryParts = kTiles.gradient_parts();
  using QuerySums = Sums<kTiles.gradient_down(), kTiles.gradient_across() / kQueryParts>;
  // Where sums of keys and queries together leave few registers, a branch keeps products apart,
  // at up to 7 % of the time.
  static constexpr bool kStepsApart = kDim > 128 || kSharesEarly;
  using ScoreProduct = Product<type, kDim / 16>;
  using KeyProduct = Product<type, (kShares ? kTiles.queries : kQueriesAtOnce) / 16>;
  using QueryProduct = Product<type, kTiles.keys / 16>;

  // Scores in pairs of queries, rounded to the inputs' type: [m][n][rows 8 further down].
  struct Pairs {
    uint32 at[kDown][kAcross][2];

    // As a left operand of 16 keys and of queries 16 k.
    TW_DEVICE Fragment operand(int32 m, int32 k) const {
      return {{at[m][2 * k][0], at[m][2 * k][1], at[m][2 * k + 1][0], at[m][2 * k + 1][1]}};
    }
  };

  struct Memory {
    KeyTile key, value;  // in the end their gradients, on their way out
    QueryTile query[kQueryStages], incoming[kTiles.incoming_stages];
    Square squares[kShares ? 2 : 1];  // gradients of scores, and weights
    RowNumbers<kTiles.queries> rows[kQueryStages];
    Several<ShortRows<kTiles.queries, kWarps>, kIsShort ? 1 : 0> of_short;
    Several<BiasTile, kBringsBias ? 2 : 0> bias;
    Several<VisibleTile, kBringsMask ? kMaskStages * kWarps : 0> visible;
    Several<PresentTiles, kSkipsBlocks ? kWarps : 0> present;
    KeyBlock block;
    QueryReach reach[kWarps];
  };
  // Where tiles begin. They are aligned alike, so that a lane's place in one is that in another.
  static constexpr int32 kValueAt = KeyTile::kBytes, kQueryAt = 2 * KeyTile::kBytes;
  static constexpr int32 kIncomingAt = kQueryAt + kQueryStages * QueryTile::kBytes;

  // What follows from it would lie in registers through a short one's loop over keys.
  TW_DEVICE static int32 thread() { return kIsShort ? thread_index_anew() : thread_index(); }

  static constexpr int32 kMostShared = kTiles.shared_kib * 1024;
};

}  // namespace tilewise::cuda::sm80
