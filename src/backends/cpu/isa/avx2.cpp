#include "backends/cpu/isa/isa.h"
#include "backends/cpu/kernel/instance.h"

namespace tilewise::cpu {
namespace {

struct Avx2 {
  static constexpr int kBytes = 32, kRegisters = 16, kVectors = 3;
  static constexpr int64 kKeys = 128;
};

}  // namespace

const Isa kAvx2{"avx2", runs_avx2, kernels_of<Avx2, float>(), kernels_of<Avx2, double>(),
                row_kernels_of<Avx2>()};

}  // namespace tilewise::cpu
