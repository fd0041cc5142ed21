// Wrong kernels: one row for each mistake that a kernel might make. A library built with
// TILEWISE_WOUNDS makes the one that the environment variable TILEWISE_WOUND names, and `./dev
// mutants` asks which tests notice. In any other build wounded() is false at compile time and no
// branch on it is left. A scar is no mistake but a freedom that a kernel has: no test may mind it.
#pragma once

#include "core/base.h"

#define TW_WOUNDS(WOUND, SCAR)                                                                     \
  WOUND(kLastKeyDropped, "last-key-dropped", "No row sees the last key of its sequence.")          \
  WOUND(kFirstKeyTwice, "first-key-twice",                                                         \
        "The first key counts twice in every row that sees it.")                                   \
  WOUND(kFirstTileTwice, "first-tile-twice",                                                       \
        "The first tile of keys that a tile of queries sees is walked twice.")                     \
  WOUND(kRightLimitMore, "right-limit-more", "The band's right limit is one key too far.")         \
  WOUND(kRightLimitLess, "right-limit-less", "The band's right limit is one key too near.")        \
  WOUND(kLeftLimitMore, "left-limit-more", "The band's left limit is one key too far.")            \
  WOUND(kLeftLimitLess, "left-limit-less", "The band's left limit is one key too near.")           \
  WOUND(kDiagonalTileUnmasked, "diagonal-tile-unmasked",                                           \
        "A tile that its last row sees whole is taken as seen whole by every row.")                \
  WOUND(kWindowTileUnmasked, "window-tile-unmasked",                                               \
        "A tile that its first row sees whole from the left is not masked there.")                 \
  WOUND(kBorderTileSkipped, "border-tile-skipped",                                                 \
        "A tile of which only a part is visible is skipped.")                                      \
  WOUND(kKeysOfFirstRow, "keys-of-first-row",                                                      \
        "A tile of queries walks the keys that its first row sees, and no further.")               \
  WOUND(kQueriesUnshifted, "queries-unshifted",                                                    \
        "From a key, the queries that see it are found without the diagonal.")                     \
  WOUND(kTopLeftForBottomRight, "top-left-for-bottom-right",                                       \
        "The bottom-right diagonal is taken as the top-left one.")                                 \
  WOUND(kDiagonalSign, "diagonal-sign", "The diagonal moves rows the wrong way.")                  \
  WOUND(kChunkBorderMoved, "chunk-border-moved",                                                   \
        "A chunk's last position is counted to the next chunk.")                                   \
  WOUND(kChunkTruncates, "chunk-truncates", "Chunks of negative positions are rounded towards 0.") \
  WOUND(kBlockMoved, "block-moved", "The block mask is read one key too early.")                   \
  WOUND(kBlockHeadZero, "block-head-zero", "Every head reads the block mask of head 0.")           \
  WOUND(kBlockCoverAny, "block-cover-any",                                                         \
        "A tile with one block present is taken as wholly present.")                               \
  WOUND(kVisibleInvertedAtTail, "visible-inverted-at-tail",                                        \
        "The boolean mask is inverted at the last key.")                                           \
  WOUND(kVisibleOfNeighbour, "visible-of-neighbour",                                               \
        "Each head reads the boolean mask of the next one.")                                       \
  WOUND(kScaleForgotten, "scale-forgotten", "Scores are not scaled.")                              \
  WOUND(kScaleTwice, "scale-twice", "Scores are scaled twice.")                                    \
  WOUND(kDefaultScaleUnrooted, "default-scale-unrooted",                                           \
        "The usual scale is 1 / dim without the root.")                                            \
  WOUND(kSoftcapAfterBias, "softcap-after-bias",                                                   \
        "Scores are capped after ALiBi and bias, not before.")                                     \
  WOUND(kSoftcapSlopeMissing, "softcap-slope-missing", "Backward forgets softcap's derivative.")   \
  WOUND(kTanhCoarse, "tanh-coarse", "tanh is good to 11 bits, as the GPU's own instruction is.")   \
  WOUND(kAlibiSign, "alibi-sign", "ALiBi favours far keys.")                                       \
  WOUND(kAlibiSigned, "alibi-signed", "ALiBi's distance has a sign.")                              \
  WOUND(kAlibiWithoutDiagonal, "alibi-without-diagonal",                                           \
        "ALiBi's distance is counted from the top-left corner.")                                   \
  WOUND(kSlopesOfFirstSequence, "slopes-of-first-sequence",                                        \
        "Every sequence takes the slopes of the first.")                                           \
  WOUND(kBiasTransposed, "bias-transposed", "Rows and columns of the bias are exchanged.")         \
  WOUND(kBiasHeadZero, "bias-head-zero", "Every head reads the bias of head 0.")                   \
  WOUND(kBiasInfinityFinite, "bias-infinity-finite",                                               \
        "A bias of -inf is merely low and hides nothing.")                                         \
  WOUND(kLowestBiasHides, "lowest-bias-hides", "The lowest finite bias hides its key.")            \
  WOUND(kNanSwallowed, "nan-swallowed", "A score of NaN is taken as the lowest one.")              \
  WOUND(kMaxNotRaised, "max-not-raised", "The running maximum stays that of the first tile.")      \
  WOUND(kSumNotRescaled, "sum-not-rescaled", "The sum is not shrunk when the maximum rises.")      \
  WOUND(kOutputNotRescaled, "output-not-rescaled",                                                 \
        "The accumulated output is not shrunk when the maximum rises.")                            \
  WOUND(kLseInLog2, "lse-in-log2", "lse is in units of log2.")                                     \
  WOUND(kLseWithoutSum, "lse-without-sum",                                                         \
        "lse is the largest score, without the logarithm of the sum.")                             \
  WOUND(kLseReadAsLog2, "lse-read-as-log2",                                                        \
        "An lse or a sink that is read back is taken as in units of log2.")                        \
  WOUND(kGuardMissing, "guard-missing",                                                            \
        "Rows that have seen nothing yet subtract -inf from -inf.")                                \
  WOUND(kEmptyRowUnwritten, "empty-row-unwritten",                                                 \
        "A row that sees nothing leaves its output as it was.")                                    \
  WOUND(kSinkPerTile, "sink-per-tile",                                                             \
        "The sink joins the denominator once for each tile of keys.")                              \
  WOUND(kSinkNotInLse, "sink-not-in-lse", "The sink is missing from lse alone.")                   \
  WOUND(kSinkScaled, "sink-scaled", "The sink is multiplied by the scale.")                        \
  WOUND(kSinkPerPart, "sink-per-part", "A merge adds the sink once for each part.")                \
  WOUND(kDropoutByTile, "dropout-by-tile", "Dropout counts rows and columns inside their tile.")   \
  WOUND(kKeepScaleMissing, "keep-scale-missing", "What dropout keeps does not grow.")              \
  WOUND(kDropoutThresholdMore, "dropout-threshold-more",                                           \
        "Dropout drops one step of 65536 too much.")                                               \
  WOUND(kDropoutTransposed, "dropout-transposed",                                                  \
        "Backward drops the element across the diagonal.")                                         \
  WOUND(kDropoutBaseIgnored, "dropout-base-ignored", "The base of dropout's indices is ignored.")  \
  WOUND(kDropoutBeforeSum, "dropout-before-sum",                                                   \
        "What is dropped is missing from the denominator.")                                        \
  WOUND(kDropoutOffsetIgnored, "dropout-offset-ignored", "Dropout's offset is ignored.")           \
  WOUND(kDropoutHeadIgnored, "dropout-head-ignored", "Every head drops the same elements.")        \
  WOUND(kDropoutSixRounds, "dropout-six-rounds", "Dropout draws with six rounds of Philox.")       \
  WOUND(kDropoutStateIgnored, "dropout-state-ignored", "Seed and offset in memory are ignored.")   \
  WOUND(kGroupModulo, "group-modulo",                                                              \
        "Query head h reads key head h modulo the number of key heads.")                           \
  WOUND(kGroupLastHead, "group-last-head",                                                         \
        "The gradients of a key head come from the last query head of its group alone.")           \
  WOUND(kDeltaMissing, "delta-missing", "Delta is missing from the scores' gradient.")             \
  WOUND(kDeltaWithoutLse, "delta-without-lse", "The gradient that arrives at lse is ignored.")     \
  WOUND(kKeyGradientScaledTwice, "key-gradient-scaled-twice",                                      \
        "The key's gradient is scaled twice.")                                                     \
  WOUND(kQueryGradientUnscaled, "query-gradient-unscaled", "The query's gradient is not scaled.")  \
  WOUND(kScoreGradientUndropped, "score-gradient-undropped",                                       \
        "The scores' gradient forgets what was dropped.")                                          \
  WOUND(kValueGradientUndropped, "value-gradient-undropped",                                       \
        "The value's gradient forgets what was dropped.")                                          \
  WOUND(kSinkGradientSign, "sink-gradient-sign", "The sinks' gradient has the wrong sign.")        \
  WOUND(kSlopeGradientDistance, "slope-gradient-distance",                                         \
        "The slopes' gradient forgets the distance.")                                              \
  WOUND(kBiasGradientLastBatch, "bias-gradient-last-batch",                                        \
        "The gradient of a bias for all sequences comes from the last one alone.")                 \
  WOUND(kQueryGradientDirty, "query-gradient-dirty",                                               \
        "The query's gradient begins with what the workspace held.")                               \
  WOUND(kMergeUnweighted, "merge-unweighted", "A merge counts every part alike.")                  \
  WOUND(kMergeUnscaled, "merge-unscaled",                                                          \
        "Rows are merged without bringing their sums to one maximum.")                             \
  WOUND(kMergeFirstLse, "merge-first-lse", "A merge gives the lse of its first part.")             \
  WOUND(kStalePage, "stale-page",                                                                  \
        "The page table is read one row late: a page begins with a row of the page before.")       \
  WOUND(kPageTableOfFirst, "page-table-of-first", "Every sequence reads the pages of the first.")  \
  WOUND(kBatchIndexOfFirst, "batch-index-of-first",                                                \
        "Every sequence lies in the row of the cache where the first lies.")                       \
  WOUND(kStartIgnored, "start-ignored", "Rows before a sequence's start count.")                   \
  WOUND(kUsedIgnored, "used-ignored", "Rows beyond a sequence's used length count.")               \
  WOUND(kRotarySign, "rotary-sign", "Rotary embedding turns the other way.")                       \
  WOUND(kRotaryPairs, "rotary-pairs",                                                              \
        "Rotary embedding takes halves for interleaved pairs, and the reverse.")                   \
  WOUND(kAppendEarly, "append-early", "New keys overwrite the last one of the cache.")             \
  WOUND(kAppendUnrotated, "append-unrotated", "New keys are rotated as if the cache were empty.")  \
  WOUND(kTailRowUnwritten, "tail-row-unwritten",                                                   \
        "The last row of a tile that is not full is not written.")                                 \
  WOUND(kRowPastEnd, "row-past-end", "A row behind the last one of a sequence is written.")        \
  WOUND(kRowDirty, "row-dirty", "The running row begins with what the workspace held.")            \
  WOUND(kOutputDirty, "output-dirty",                                                              \
        "The accumulated output begins with what the workspace held.")                             \
  WOUND(kValueTailRead, "value-tail-read",                                                         \
        "Beyond the last key, what the workspace holds is multiplied by 0.")                       \
  WOUND(kKeyStrideOfValue, "key-stride-of-value", "Key heads are found by the value's stride.")    \
  WOUND(kTaskTakenTwice, "task-taken-twice",                                                       \
        "Each thread but the first does the task before its own, as if it had been counted "       \
        "without a lock.")                                                                         \
  WOUND(kAccumulatorNarrow, "accumulator-narrow",                                                  \
        "With 16-bit inputs, the accumulated output is rounded to their type after each tile.")    \
  WOUND(kEncodeTruncates, "encode-truncates", "Small floats are cut off instead of rounded.")      \
  WOUND(kEncodeTwice, "encode-twice", "Small floats are rounded to one bit more first.")           \
  WOUND(kQueryFactorForgotten, "query-factor-forgotten", "The query's FP8 factor is forgotten.")   \
  WOUND(kValueFactorOfKey, "value-factor-of-key", "Values are widened by the key's FP8 factor.")   \
  WOUND(kQueriesOfFirstGroup, "queries-of-first-group",                                            \
        "All lanes of a tile take the queries of its first group.")                                \
  WOUND(kStretchLate, "stretch-late",                                                              \
        "A group begins at the block of keys behind the first that it sees.")                      \
  WOUND(kSplitLost, "split-lost", "What the last split of the keys found is not merged.")          \
  WOUND(kSplitShareForgotten, "split-share-forgotten",                                             \
        "Splits of the keys are added up without their shares.")                                   \
  WOUND(kKeysOfFirstHead, "keys-of-first-head",                                                    \
        "Key heads that are taken together all read the keys of the first.")                       \
  WOUND(kFewLastKeys, "few-last-keys",                                                             \
        "With few queries, values behind the last whole step are left out.")                       \
  WOUND(kOneTailSeen, "one-tail-seen",                                                             \
        "With one query, what lies behind the last key counts as keys.")                           \
  WOUND(kOneUnshrunk, "one-unshrunk",                                                              \
        "With one query, weights found before are not shrunk to a larger maximum.")                \
  WOUND(kEvenForOdd, "even-for-odd",                                                               \
        "With few queries, pairs of bfloat16 leave in exchanged places.")                          \
  WOUND(kHalfTileTwice, "half-tile-twice",                                                         \
        "Of a tile that is cut in two, the first half is done twice.")                             \
  WOUND(kLanesSeeAlike, "lanes-see-alike", "All lanes of a group see what its last row sees.")     \
  WOUND(kGroupUnmasked, "group-unmasked",                                                          \
        "A group that sees a part of a tile of keys is not masked.")                               \
  WOUND(kSlopeOfFirstLane, "slope-of-first-lane",                                                  \
        "All lanes of a tile take the slope of its first head.")                                   \
  WOUND(kDropoutRowOff, "dropout-row-off", "Dropout decides for the row above.")                   \
  WOUND(kBiasOfFirstGroup, "bias-of-first-group",                                                  \
        "All lanes of a tile take the bias of its first group.")                                   \
  WOUND(kBlocksOfFirstRow, "blocks-of-first-row",                                                  \
        "All rows of a tile see the blocks that its first row sees.")                              \
  WOUND(kPositionsUnmoved, "positions-unmoved",                                                    \
        "Each tile of keys takes ALiBi's distances for those of the first.")                       \
  WOUND(kTurnLost, "turn-lost",                                                                    \
        "The last range of keys adds nothing to the gradient of the queries.")                     \
  WOUND(kKeysOfFirstGroup, "keys-of-first-group",                                                  \
        "Where groups see different keys, the first alone adds to their gradients.")               \
  WOUND(kIdleLanesKept, "idle-lanes-kept",                                                         \
        "Lanes that hold no row add to the gradients what the workspace held.")                    \
  WOUND(kQueryHeadLost, "query-head-lost",                                                         \
        "The gradients of a key head lack the last query head of its group.")                      \
  WOUND(kEndsEarly, "ends-early",                                                                  \
        "A vector of queries, not a group's last, ends a block of keys too early.")                \
  WOUND(kLanesOfFirstVector, "lanes-of-first-vector",                                              \
        "Keys that only late queries of a group see get the first queries' numbers.")              \
  WOUND(kPairsExchanged, "pairs-exchanged",                                                        \
        "The two keys of each pair change places in the gradient of the queries.")                 \
  WOUND(kPlaceOfFirstHead, "place-of-first-head",                                                  \
        "Keys that are scored where they lie are those of the first head.")                        \
  WOUND(kCopyNotAwaited, "copy-not-awaited", "Tensor cores read a tile that is still on its way.") \
  WOUND(kStageNotTurned, "stage-not-turned",                                                       \
        "The next tile of keys comes into the one that is in use.")                                \
  WOUND(kValuesNotTransposed, "values-not-transposed",                                             \
        "Tensor cores read each 8 x 8 values transposed.")                                         \
  WOUND(kWeightsExchanged, "weights-exchanged", "Weights are exchanged within their fragment.")    \
  WOUND(kMaxOfOneLane, "max-of-one-lane", "Each lane takes the maximum of its own part of a row.") \
  WOUND(kSumOfOneLane, "sum-of-one-lane", "A row is divided by the sum of one of its four lanes.") \
  WOUND(kTailNotMasked, "tail-not-masked", "A tile of keys is not masked behind the last key.")    \
  WOUND(kReachOfFirstWarp, "reach-of-first-warp",                                                  \
        "All warps of a block walk the keys that the first one sees.")                             \
  WOUND(kScoresNotAwaited, "scores-not-awaited",                                                   \
        "In backward, warps read gradients of scores that others have not written yet.")           \
  WOUND(kPaddingShared, "padding-shared",                                                          \
        "In backward's workspace, packed sequences begin in the tile where the last one ends.")    \
  WOUND(kHalvesExchanged, "halves-exchanged",                                                      \
        "Of 16 rows of the query's gradient, the upper and the lower 8 change places.")            \
  WOUND(kBiasExchanged, "bias-exchanged",                                                          \
        "Tensor cores' kernels exchange the pairs of a bias within their fragment.")               \
  WOUND(kDeltaOfFirstHead, "delta-of-first-head",                                                  \
        "In backward of short sequences, a group's heads have the first one's delta.")             \
  WOUND(kBiasPiecesExchanged, "bias-pieces-exchanged",                                             \
        "Of a bias's gradient, neighbouring sixteens of keys change places.")                      \
  WOUND(kApartTogether, "apart-together",                                                          \
        "In backward, rows of a huge lse are weighed as all others are.")                          \
  WOUND(kPresentOfOneHead, "present-of-one-head",                                                  \
        "Tiles that a block mask has are looked up for one head of a group.")                      \
  WOUND(kBiasOfFirstWarp, "bias-of-first-warp",                                                    \
        "All warps of a block take the bias of the first.")                                        \
  WOUND(kBiasHalfTwice, "bias-half-twice",                                                         \
        "A bias that comes element by element gives the first half of a tile of keys twice.")      \
  WOUND(kVisibleBitsMoved, "visible-bits-moved",                                                   \
        "A boolean mask is packed with each two groups of four keys exchanged.")                   \
  WOUND(kBlocksUnmasked, "blocks-unmasked",                                                        \
        "A tile of which a block mask has a part is taken whole.")                                 \
  WOUND(kHeadOfTile, "head-of-tile", "All heads that share a tile take the first one's queries.")  \
  WOUND(kSecondNotAwaited, "second-not-awaited",                                                   \
        "Of copies that begin before the walk, those for the second tile are never awaited.")      \
  WOUND(kDivisorRoundedDown, "divisor-rounded-down",                                               \
        "The factor that stands for a division is rounded down.")                                  \
  WOUND(kSpotsOfFirstTile, "spots-of-first-tile",                                                  \
        "Tiles of keys read their pages as the first of each four does.")                          \
  WOUND(kValueNotAwaited, "value-not-awaited",                                                     \
        "Values are read when their keys have come, on their way or not.")                         \
  WOUND(kMissingPageSeen, "missing-page-seen",                                                     \
        "Keys of a page that the cache lacks count as zeros.")                                     \
  WOUND(kDroppedHalvesExchanged, "dropped-halves-exchanged",                                       \
        "Decisions for the two halves of 16 queries are exchanged.")                               \
  WOUND(kCapOfFour, "cap-of-four",                                                                 \
        "A softcap gives the first two of each four scores the others' reciprocals.")              \
  WOUND(kCapAllFarBelow, "cap-all-far-below",                                                      \
        "Backward takes all products of a warp for ones far below a softcap.")                     \
  WOUND(kCapAllSmall, "cap-all-small", "A softcap takes all scores of a warp for small ones.")     \
  WOUND(kDistancesOneSided, "distances-one-sided",                                                 \
        "ALiBi takes all keys of a tile for those before the queries.")                            \
  WOUND(kVisibleRowsAlike, "visible-rows-alike",                                                   \
        "All rows of a warp see what a boolean mask says of the first.")                           \
  WOUND(kBlocksOfFirstWarp, "blocks-of-first-warp",                                                \
        "All warps of a block see the blocks that the rows of the first one see.")                 \
  WOUND(kBlockWindowKept, "block-window-kept", "Tiles of keys are left out as the first 32 are.")  \
  WOUND(kMergeUnsunk, "merge-unsunk", "The merge of splits forgets the sink.")                     \
  SCAR(kWeightsNarrow, "weights-narrow",                                                           \
       "Weights, and in backward scores' gradients, are rounded to 16-bit inputs' type.")          \
  SCAR(kExpInexact, "exp-inexact",                                                                 \
       "In float32, weights are off by up to 2^-22, as the GPU's own exp2 is.")                    \
  SCAR(kTilesReversed, "tiles-reversed", "Tiles of keys are walked from the last to the first.")   \
  SCAR(kTilesNarrow, "tiles-narrow", "Tiles have half as many keys.")                              \
  SCAR(kMaxRaisedLate, "max-raised-late", "The running maximum rises only by factors above 2^8.")

namespace tilewise::core {

#define TW_WOUND_VALUE(value, name, sentence) value,
enum class Wound : int32 { kNone, TW_WOUNDS(TW_WOUND_VALUE, TW_WOUND_VALUE) };
#undef TW_WOUND_VALUE

#if defined(TILEWISE_WOUNDS)
// Read once, from the environment, in src/api/wound.cpp.
extern const Wound kInflicted;

// What is worked out at compile time stays right, so static_asserts hold. The initialiser of a
// const number or bool is such a place if all but this is known: there, ask after what is not.
TW_HD constexpr bool wounded(Wound wound) {
  return !__builtin_is_constant_evaluated() && kInflicted == wound;
}
#else
TW_HD constexpr bool wounded(Wound) {
  return false;
}
#endif

// `usual`, or what a wounded kernel has in its place.
template <class T>
TW_HD constexpr T unless(Wound wound, T usual, T otherwise) {
  return wounded(wound) ? otherwise : usual;
}

// `limit`, or one off where one of two wounds says so.
TW_HD constexpr int64 limit_off(int64 limit, Wound more, Wound less) {
  return limit + (wounded(more) ? 1 : 0) - (wounded(less) ? 1 : 0);
}

}  // namespace tilewise::core
