#include "backends/cpu/isa/isa.h"
#include "backends/cpu/kernel/amx.h"

namespace tilewise::cpu {
namespace {

// A tile of scores is four tile registers, or 64 lanes, wide.
struct AmxBf16 {
  static constexpr int kBytes = 64, kRegisters = 32, kVectors = 4;
  static constexpr int64 kKeys = 256;
  static constexpr bool kDecodes = false;
};

}  // namespace

constinit const Isa kAmxBf16{"amx_bf16", runs_amx_bf16, kAvx512Numbers,
                             bfloat16_kernels_of<AmxBf16, TilePairs>(), &kAvx512Bf16};

}  // namespace tilewise::cpu
