#include "backends/cpu/isa/isa.h"
#include "backends/cpu/kernel/vdpbf16.h"

namespace tilewise::cpu {
namespace {

struct Avx512Bf16 {
  static constexpr int kBytes = 64, kRegisters = 32, kVectors = 3;
  static constexpr int64 kKeys = 256;
  static constexpr bool kDecodes = true;
  using Dot = OfPairs;  // how decoding multiplies pairs
};

}  // namespace

constinit const Isa kAvx512Bf16{"avx512_bf16", runs_avx512_bf16, kAvx512Numbers,
                                bfloat16_kernels_of<Avx512Bf16, DotPairs>()};

}  // namespace tilewise::cpu
