#include "backends/cpu/isa/isa.h"
#include "backends/cpu/kernel/instance.h"

namespace tilewise::cpu {
namespace {

struct Neon {
  static constexpr int kBytes = 16, kRegisters = 32, kVectors = 3;
  static constexpr int64 kKeys = 128;
  static constexpr bool kDecodes = true;
};

constexpr NumberKernels kNumbers = number_kernels_of<Neon>();

}  // namespace

constinit const Isa kNeon{"neon", runs_neon, kNumbers};

}  // namespace tilewise::cpu
