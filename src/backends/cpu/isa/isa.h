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

// Those that this library was built with, best first. The last one runs everywhere.
std::span<const Isa* const> built_isas();

// The best of `isas` that this machine has, or the one called `name` unless that is null or empty.
// A name that cannot be had is refused, and then `isa` is the best one all the same.
Status choose_isa(std::span<const Isa* const> isas, const char* name, const Isa*& isa);

// Of all, by TILEWISE_CPU_ISA.
Status choose_isa(const Isa*& isa);

}  // namespace tilewise::cpu
