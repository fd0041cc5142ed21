// The instruction sets, which of them this machine has, and which one runs.
#pragma once

#include <span>

#include "backends/cpu/kernels.h"
#include "problem/status.h"

namespace tilewise::cpu {

extern const Isa kPortable;
bool runs_portable();
#if defined(__x86_64__)
extern const Isa kAvx2, kAvx512, kAvx512Bf16, kAmxBf16;
extern const NumberKernels kAvx512Numbers;
bool runs_avx2();
bool runs_avx512();
bool runs_avx512_bf16();
bool runs_amx_bf16();
#elif defined(__aarch64__)
extern const Isa kNeon;
bool runs_neon();
#endif

// The instruction sets that this library was built with, best first; the last runs everywhere.
std::span<const Isa* const> built_isas();

// Sets `isa` to the one called `name`, or to the best that this machine has if `name` is null or
// empty. If `name` cannot run here, returns a refusal and sets `isa` to the best.
Status choose_isa(std::span<const Isa* const> isas, const char* name, const Isa*& isa);

// Chooses from built_isas() by TILEWISE_CPU_ISA.
Status choose_isa(const Isa*& isa);

}  // namespace tilewise::cpu
