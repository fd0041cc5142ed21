#include "backends/cpu/isa/isa.h"
#include "backends/cpu/kernel/instance.h"

namespace tilewise::cpu {
namespace {

struct Portable {
  static constexpr int kBytes = 16, kRegisters = 16, kVectors = 3;
  static constexpr int64 kKeys = 128;
};

}  // namespace

const Isa kPortable{"portable", runs_portable, kernels_of<Portable, float>(),
                    kernels_of<Portable, double>(), row_kernels_of<Portable>()};

}  // namespace tilewise::cpu
