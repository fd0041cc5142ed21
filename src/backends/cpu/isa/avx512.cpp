#include "backends/cpu/isa/isa.h"
#include "backends/cpu/kernel/instance.h"

namespace tilewise::cpu {
namespace {

struct Avx512 {
  static constexpr int kBytes = 64, kRegisters = 32, kVectors = 3;
  static constexpr int64 kKeys = 128;
  static constexpr bool kDecodes = true;
};

}  // namespace

constinit const NumberKernels kAvx512Numbers = number_kernels_of<Avx512>();
constinit const Isa kAvx512{"avx512", runs_avx512, kAvx512Numbers};

}  // namespace tilewise::cpu
