#include "backends/cpu/isa/isa.h"
#include "backends/cpu/kernel/instance.h"

namespace tilewise::cpu {
namespace {

struct Portable {
  static constexpr int kBytes = 16, kRegisters = 16, kVectors = 3;
  static constexpr int64 kKeys = 128;
  static constexpr bool kDecodes = false;
};

constexpr NumberKernels kNumbers = number_kernels_of<Portable>();

}  // namespace

constinit const Isa kPortable{"portable", runs_portable, kNumbers};

}  // namespace tilewise::cpu
