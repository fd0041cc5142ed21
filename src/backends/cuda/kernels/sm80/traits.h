// What a variant of forward is made of: a row of kTable, a dtype and a set of features.
#pragma once

#include "backends/cuda/kernels/score/softmax.h"
#include "backends/cuda/kernels/score/visible.h"
#include "backends/cuda/kernels/sm80/head.h"
#include "backends/cuda/kernels/sm80/product.h"
#include "backends/cuda/kernels/sm80/tile.h"

namespace tilewise::cuda::sm80 {

// The place of a key in a paged cache. A negative page means that there is none.
struct KeySpot {
  int32 page, row;
};
// kNoPage: the page table has no valid page for this key. kNoKey: the key is beyond the last.
inline constexpr int32 kNoPage = -1, kNoKey = -2;

// What a general variant keeps in shared memory for features and pages. `spots` (the page and row
// of each key in a paged cache) has room for four tiles of keys, because they are looked up as many
// as two tiles ahead of their use.
template <class Traits>
struct GeneralExtras {
  static constexpr int32 kWarps = Traits::kWarps, kRowsOfWarp = Traits::kRowsOfWarp;
  static constexpr int32 kKeys = Traits::kKeys;
  using BiasTile = Tile<Traits::kRows, kKeys>;
  using Visible = score::VisibleTile<kRowsOfWarp, kKeys>;

  // What belongs to a tile of keys. Bias and mask are prefetched with it if they come in pieces.
  struct Stage {
    union {
      BiasTile bias;
      float numbers[kWarps][kRowsOfWarp][kKeys / 2];  // a bias that is read element by element
    };
    Visible visible[kWarps];
  };
  Stage stage[Traits::kStages];
  KeySpot spots[4][kKeys];
  Asked asked;
  BlockWindow window[kWarps];
};

// What a featured variant keeps in shared memory for its set of features. The mask needs one tile,
// because a warp takes its bits before the copy of the next tile starts.
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

// Each warp has kRowsOfWarp rows of queries: their scores with a tile of keys, and their output.
template <DType type, int32 number,
          uint32 features = is_general(kTable[number].kind) ? score::kEveryFeature : 0>
struct Traits {
  static constexpr DType kType = type;
  static constexpr Size kSize = kTable[number];
  static constexpr bool kIsGeneral = is_general(kSize.kind);
  static constexpr bool kIsFeatured = kSize.kind == Kind::kFeatured;
  static constexpr uint32 kFeatures = features;
  // Whether a block mask can exclude tiles of keys.
  static constexpr bool kSkipsTiles = (features & score::kBlocks) != 0;
  // Whether shared data about the features (`publish`) is needed before the first tile of keys is
  // loaded.
  static constexpr bool kPublishesFirst =
      (features & (score::kBlocks | score::kBias | score::kVisible)) != 0;
  // Columns of the tiles of queries, keys and values; padded with zeros.
  static constexpr int32 kDim = kSize.dim;
  static constexpr int32 kRows = kSize.rows, kKeys = kSize.keys, kStages = kSize.stages;
  static constexpr int32 kWarps = kSize.warps, kThreads = kSize.threads();
  static constexpr int32 kRowsOfWarp = kRows / kWarps, kDown = kRowsOfWarp / 16;
  // Whether begin_walk also starts the copies that overlap with the first tile (load_ahead).
  // Featured variants do not, because their boolean mask has one buffer; general ones do not,
  // because their walk starts without a tile.
  static constexpr bool kBeginsAhead = !kIsGeneral && !kIsFeatured;
  // Whether a thread may use up to 255 registers.
  static constexpr bool kHasRegisters = kThreads * kSize.blocks <= 256;
  // Whether query fragments stay in registers, in variants that have enough of them.
  static constexpr bool kHoldsQuery = kDim <= 64 && !kIsGeneral && kHasRegisters;
  // Whether running rows, and what a lane computes once, stay in registers.
  static constexpr bool kHoldsRows = !kIsGeneral && (kDim <= 96 || kDown == 1) && kHasRegisters;

  using QueryTile = Tile<kRows, kDim>;
  using KeyTile = Tile<kKeys, kDim>;
  using Scores = Sums<kDown, kKeys / 8>;
  using Output = Sums<kDown, kDim / 8>;
  using Weights = score::Weights<type, Scores>;
  using ScoreProduct = Product<type, kDim / 16>;
  using OutputProduct = Product<type, kKeys / 16>;
  using RunningRows = Several<score::RunningRows<kRows, kThreads>, kHoldsRows ? 0 : 1>;
  using RegisterRows = score::RegisterRows<Scores::kRowsOfLane>;
  using CachedRows = score::CachedRows<Scores::kRowsOfLane, kThreads>;
  // Whether each lane keeps its bits of the boolean mask in registers during a tile.
  static constexpr bool kHoldsVisible = kIsFeatured && (features & score::kVisible) != 0;
  using VisibleBits = score::VisibleBits<kHoldsVisible ? Scores::kRowsOfLane : 0>;

  // The most shared memory that a block may take. With 113 KiB two blocks of a featured variant fit
  // into a multiprocessor of Hopper. Featured variants without kExactly test their set at run time;
  // only tests run them.
  static constexpr int32 kMostShared = !kIsFeatured                        ? kMostSharedBytes
                                       : (features & score::kExactly) != 0 ? 113 * 1024
                                                                           : 227 * 1024;

  // If registers are scarce, the thread index is read again at each use, so that values derived
  // from it are recomputed and do not occupy registers.
  TW_DEVICE static int32 thread() { return kHoldsRows ? thread_index() : thread_index_anew(); }

  struct Memory {
    QueryTile query;           // in the epilogue, the output
    KeyTile key[2 * kStages];  // kStages tiles of keys, then as many of values
    Head head;
    Reach reach[kWarps];
    RunningRows rows;
    typename ExtrasOf<Traits, kSize.kind>::Type extras;
  };
};

}  // namespace tilewise::cuda::sm80
