// What a call asks of its scores, as kernels for tensor cores get it.
#pragma once

#include "backends/cuda/kernels/attention.h"

namespace tilewise::cuda::score {

// What may be asked beside a band. A kernel is compiled for some of these. Either each one of them
// is asked for or not when it runs, by a branch that all threads take alike; or the kernel is there
// for calls that ask for all of them and no other, and has no branch.
enum Feature : uint32 {
  kAnyScale = 1,  // one that is not positive, or far from 1
  kSoftcap = 2,
  kAlibi = 4,
  kBias = 8,
  kVisible = 16,
  kBlocks = 32,
  kDropout = 64,
  kSinks = 128,
  kBiasPieces = 256,      // the bias is of the inputs' type, its rows whole pieces of 16 bytes
  kVisiblePieces = 512,   // so are the rows of the boolean mask
  kBlocksOfTiles = 1024,  // tiles of queries and keys lie in one block of the block mask each
  // Of backward, and not in kEveryFeature: gradients that are wanted beside the usual ones.
  kBiasGradient = 2048,
  kSlopesGradient = 4096
};
// Of a set that a kernel is compiled for: it has all of them.
inline constexpr uint32 kExactly = 1u << 15;
// These make scores of products before the softmax sees them; otherwise it works on products.
inline constexpr uint32 kShaping = kAnyScale | kSoftcap | kAlibi | kBias;
inline constexpr uint32 kEveryFeature = 2047;

// From what the softmax works on to scores in units of log2.
struct Measure {
  float factor;  // of products scale * log2(e), above 0; of scores 1
  float limit;   // what lies beyond is held there, as core's to_log2 holds scores
};

// What is known of scores before the softmax sees them.
enum class Known {
  kNothing,  // what overflowed is infinite or NaN, and no key is hidden
  kFinite,   // only hidden keys have -inf; others may lie beyond the measure
  kHeld      // and none of them does
};

struct Scoring {
  Measure measure;
  float factor;           // scale * log2(e), of any sign
  float cap_in, cap_out;  // softcap: 2 * factor / cap, and cap * log2(e)
  Tensor slopes, bias, sinks;
  Mask mask;
  Dropout dropout;
  uint32 asked;  // of Feature
};

// Of what a kernel is compiled for, and a call asks.
template <uint32 compiled>
TW_HD constexpr bool asks(const Scoring& p, uint32 any_of) {
  if ((compiled & any_of) == 0) return false;
  return (compiled & kExactly) != 0 || (p.asked & any_of) != 0;
}

// Scores in units of log2 are held within this: core's to_log2 of the largest ones.
inline constexpr float kMostScore = core::largest<float>() / 2 * core::log2e<float>();

}  // namespace tilewise::cuda::score
