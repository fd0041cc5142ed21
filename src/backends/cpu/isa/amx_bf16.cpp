#include "backends/cpu/isa/isa.h"
#include "backends/cpu/kernel/amx.h"

namespace tilewise::cpu {
namespace {

struct AmxBf16 {
  static constexpr int kBytes = 64, kRegisters = 32, kVectors = 3;
  static constexpr int64 kKeys = 128;
};

// Four registers of scores side by side.
struct Amx {
  static constexpr int kBytes = 64, kRegisters = 32, kVectors = 4;
  static constexpr int64 kKeys = 128;
};

}  // namespace

const Isa kAmxBf16{"amx_bf16",
                   runs_amx_bf16,
                   kernels_of<AmxBf16, float>(),
                   kernels_of<AmxBf16, double>(),
                   row_kernels_of<AmxBf16>(),
                   bfloat16_kernels_of<Amx, TilePairs>()};

}  // namespace tilewise::cpu
