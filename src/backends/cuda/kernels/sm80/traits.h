// What one variant of forward is made of: a row of the table, in a type, with features.
#pragma once

#include "backends/cuda/kernels/score/softmax.h"
#include "backends/cuda/kernels/score/visible.h"
#include "backends/cuda/kernels/sm80/head.h"
#include "backends/cuda/kernels/sm80/product.h"
#include "backends/cuda/kernels/sm80/tile.h"

namespace tilewise::cuda::sm80 {

// Where a key lies in a cache of pages: below 0, nowhere.
struct KeySpot {
  int32 page, row;
};
// No page, as a table said that should know; or no key.
inline constexpr int32 kNoPage = -1, kNoKey = -2;

// What features have in shared memory, of a kernel that has all of them. Spots are of four tiles of
// keys: the one in use, the one on its way, and the one that is looked up meanwhile.
template <class Traits>
struct GeneralExtras {
  static constexpr int32 kWarps = Traits::kWarps, kRowsOfWarp = Traits::kRowsOfWarp;
  static constexpr int32 kKeys = Traits::kKeys;
  using BiasTile = Tile<Traits::kRows, kKeys>;
  using Visible = score::VisibleTile<kRowsOfWarp, kKeys>;

  // Beside a tile of keys.
  struct Stage {
    union {
      BiasTile bias;
      float numbers[kWarps][kRowsOfWarp][kKeys / 2];  // of a bias that comes element by element
    };
    Visible visible[kWarps];
  };
  Stage stage[Traits::kStages];
  KeySpot spots[4][kKeys];
  Asked asked;
  BlockWindow window[kWarps];
};

// The same where it is known which there are. A warp reads its part of the boolean mask before the
// next one is asked for, so that one tile of it is enough.
template <class Traits>
struct FeaturedExtras {
  static constexpr bool kHasBias = (Traits::kFeatures & score::kBias) != 0;
  static constexpr bool kHasVisible = (Traits::kFeatures & score::kVisible) != 0;
  using BiasTile = Tile<Traits::kRows, Traits::kKeys>;
  using Visible = score::VisiblePieces<Traits::kRowsOfWarp>;

  Several<BiasTile, kHasBias ? Traits::kStages : 0> bias;
  Several<Visible, kHasVisible ? Traits::kWarps : 0> visible;
  Asked asked;
  BlockWindow window[Traits::kWarps];
};

template <class Traits, Kind kind>
struct ExtrasOf {
  struct Type {};
};
template <class Traits>
struct ExtrasOf<Traits, Kind::kGeneral> {
  using Type = GeneralExtras<Traits>;
};
template <class Traits>
struct ExtrasOf<Traits, Kind::kShortGeneral> {
  using Type = GeneralExtras<Traits>;
};
template <class Traits>
struct ExtrasOf<Traits, Kind::kFeatured> {
  using Type = FeaturedExtras<Traits>;
};

// Each warp has kRowsOfWarp rows: their scores with a tile of keys, and their output.
template <DType type, int32 number,
          uint32 features = is_general(kTable[number].kind) ? score::kEveryFeature : 0>
struct Traits {
  static constexpr DType kType = type;
  static constexpr Size kSize = kTable[number];
  static constexpr bool kIsGeneral = is_general(kSize.kind);
  static constexpr bool kIsFeatured = kSize.kind == Kind::kFeatured;
  static constexpr uint32 kFeatures = features;
  // Whether tiles of keys may be left out.
  static constexpr bool kSkipsTiles = (features & score::kBlocks) != 0;
  // Whether what the block's threads know of the features is needed for the first tile of keys.
  static constexpr bool kSettlesFirst =
      (features & (score::kBlocks | score::kBias | score::kVisible)) != 0;
  // Of queries, keys and values, filled up with zeros.
  static constexpr int32 kDim = kSize.dim;
  static constexpr int32 kRows = kSize.rows, kKeys = kSize.keys, kStages = kSize.stages;
  static constexpr int32 kWarps = kSize.warps, kThreads = kSize.threads();
  static constexpr int32 kRowsOfWarp = kRows / kWarps, kDown = kRowsOfWarp / 16;
  // Whether what comes while the first tile is used is asked for before the walk. What comes for
  // features has no second place.
  static constexpr bool kBeginsAhead = !kIsGeneral && !kIsFeatured;
  // Whether a thread may have as many registers as there are.
  static constexpr bool kHasRegisters = kThreads * kSize.blocks <= 256;
  // Fragments of the queries stay in registers where there is room for them.
  static constexpr bool kHoldsQuery = kDim <= 64 && !kIsGeneral && kHasRegisters;
  // So do running rows, and all that a lane works out once.
  static constexpr bool kHoldsRows = !kIsGeneral && (kDim <= 96 || kDown == 1) && kHasRegisters;

  using QueryTile = Tile<kRows, kDim>;
  using KeyTile = Tile<kKeys, kDim>;
  using Scores = Sums<kDown, kKeys / 8>;
  using Output = Sums<kDown, kDim / 8>;
  using Weights = score::Weights<type, Scores>;
  using ScoreProduct = Product<type, kDim / 16>;
  using OutputProduct = Product<type, kKeys / 16>;
  using RunningRows = Several<score::RunningRows<kRows, kThreads>, kHoldsRows ? 0 : 1>;
  using HeldRows = score::HeldRows<Scores::kRowsOfLane>;
  using ReadRows = score::ReadRows<Scores::kRowsOfLane, kThreads>;
  // Of the boolean mask, what a lane holds from the time a tile has come.
  static constexpr bool kHoldsVisible = kIsFeatured && (features & score::kVisible) != 0;
  using HeldVisible = score::HeldVisible<kHoldsVisible ? Scores::kRowsOfLane : 0>;

  // Two blocks fill a multiprocessor of Hopper. What is asked when it runs is for tests alone.
  static constexpr int32 kMostShared = !kIsFeatured                        ? kMostSharedBytes
                                       : (features & score::kExactly) != 0 ? 113 * 1024
                                                                           : 227 * 1024;

  // What is worked out from it in a tile stays in registers only where there are some to spare.
  TW_DEVICE static int32 thread() { return kHoldsRows ? thread_index() : thread_index_anew(); }

  struct Memory {
    QueryTile query;           // in the end, the output on its way out
    KeyTile key[2 * kStages];  // and as many of values behind them
    Head head;
    Reach reach[kWarps];
    RunningRows rows;
    typename ExtrasOf<Traits, kSize.kind>::Type extras;
  };
};

}  // namespace tilewise::cuda::sm80
