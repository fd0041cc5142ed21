#include "backends/cpu/isa/isa.h"
#include "backends/cpu/kernel/instance.h"

namespace tilewise::cpu {
namespace {

struct Avx2 {
  static constexpr int kBytes = 32, kRegisters = 16, kVectors = 3;
  static constexpr int64 kKeys = 128;
  static constexpr bool kDecodes = true;
};

constexpr NumberKernels kNumbers = number_kernels_of<Avx2>();

}  // namespace

constinit const Isa kAvx2{"avx2", runs_avx2, kNumbers};

}  // namespace tilewise::cpu
