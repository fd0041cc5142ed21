// What a call asks of its scores, in the form that the tensor-core kernels receive.
#pragma once

#include "backends/cuda/kernels/attention.h"

namespace tilewise::cuda::score {

// Features that a call may ask for besides a band. A kernel is compiled for a set of them. A
// general kernel tests each at run time, by a branch that is uniform in the grid. A featured kernel
// (kExactly) serves only calls that ask for exactly its set, and needs no branch. Sinks are in no
// featured set; they are tested at run time.
enum Feature : uint32 {
  kAnyScale = 1,  // a scale that is not positive, or far from 1
  kSoftcap = 2,
  kAlibi = 4,
  kBias = 8,
  kVisible = 16,
  kBlocks = 32,
  kDropout = 64,
  kSinks = 128,
  kBiasPieces = 256,      // the bias has the inputs' type; rows are contiguous, 16-byte aligned
  kVisiblePieces = 512,   // rows of the boolean mask are contiguous, 16-byte aligned
  kBlocksOfTiles = 1024,  // blocks of the block mask are multiples of 32 queries by 64 keys
  // Only for backward, and not in kEveryFeature: gradients that are wanted besides the usual ones.
  kBiasGradient = 2048,
  kSlopesGradient = 4096
};
// A bit in the set that a featured kernel is compiled for. It says that each call asks for the
// whole set, so the kernel tests only for sinks at run time.
inline constexpr uint32 kExactly = 1u << 15;
// Features that turn products into scores before the softmax. Without them the softmax works on the
// products themselves.
inline constexpr uint32 kShaping = kAnyScale | kSoftcap | kAlibi | kBias;
inline constexpr uint32 kEveryFeature = 2047;

// Converts the softmax's input to scores in units of log2.
struct Measure {
  float factor;  // scale * log2(e), above 0, if the input is products; 1 if it is scores
  float limit;   // larger inputs are clamped to this, as core's to_log2 does
};

// What is known about scores before the softmax.
enum class Known {
  kNothing,  // nothing is hidden yet; overflow may have left infinities or NaN
  kFinite,   // -inf means hidden; other scores may exceed Measure::limit
  kHeld      // -inf means hidden; no other score exceeds Measure::limit
};

struct Scoring {
  Measure measure;
  float factor;           // scale * log2(e), of any sign
  float cap_in, cap_out;  // softcap: 2 * factor / cap, and cap * log2(e)
  Tensor slopes, bias, sinks;
  Mask mask;
  Dropout dropout;
  uint32 asked;  // bits of Feature
};

// Whether the call asks for one of the features `any_of`, in a kernel compiled for the set
// `compiled`.
template <uint32 compiled>
TW_HD constexpr bool asks(const Scoring& p, uint32 any_of) {
  if ((compiled & any_of) == 0) return false;
  return (compiled & kExactly) != 0 || (p.asked & any_of) != 0;
}

// The largest score in units of log2 after clamping: core's to_log2 of the largest float.
inline constexpr float kMostScore = core::largest<float>() / 2 * core::log2e<float>();

}  // namespace tilewise::cuda::score
