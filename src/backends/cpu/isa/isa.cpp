// Which instruction set runs: the best that this machine has, or what TILEWISE_CPU_ISA names.
#include "backends/cpu/isa/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>
#include <cstring>

#include "plan/settings.h"
#include "problem/text.h"

namespace tilewise::cpu {

bool runs_portable() {
  return true;
}

#if defined(__x86_64__)
namespace {

// The remembered answer of ask(): CPUID takes microseconds in a virtual machine. It is an atomic,
// because a static's guard, held while another thread forks, would stay locked in the child.
template <bool (*ask)()>
bool remembered() {
  static std::atomic<int> answer{-1};
  if (answer.load() < 0) answer.store(ask() ? 1 : 0);
  return answer.load() == 1;
}

bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

bool has_amx_bf16() {
  constexpr unsigned kTileBit = 1u << 24, kBFloat16Bit = 1u << 22;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (d & kTileBit) != 0 && (d & kBFloat16Bit) != 0;
}

// Asks Linux for the use of AMX's tile registers; a process has none before it asks.
bool may_use_tiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_usable_tiles() {
  return has_amx_bf16() && may_use_tiles();
}

}  // namespace

bool runs_avx2() {
  // clang 14's __builtin_cpu_supports does not know F16C.
  return remembered<has_f16c>() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool runs_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

bool runs_avx512_bf16() {
  return runs_avx512() && __builtin_cpu_supports("avx512bf16");
}

bool runs_amx_bf16() {
  return remembered<has_usable_tiles>() && runs_avx512_bf16();
}
#elif defined(__aarch64__)
// Every 64-bit ARM processor has NEON.
bool runs_neon() {
  return true;
}
#endif

namespace {

// All instruction sets, best first. A build for one machine leaves some out:
// cmake/instruction_sets.cmake.
const Isa* const kIsas[] = {
#if defined(__x86_64__)
#if !defined(TILEWISE_WITHOUT_AMX_BF16)
    &kAmxBf16,
#endif
#if !defined(TILEWISE_WITHOUT_AVX512_BF16)
    &kAvx512Bf16,
#endif
#if !defined(TILEWISE_WITHOUT_AVX512)
    &kAvx512,
#endif
#if !defined(TILEWISE_WITHOUT_AVX2)
    &kAvx2,
#endif
#elif defined(__aarch64__)
    &kNeon,
#endif
    &kPortable};

Status refused(std::span<const Isa* const> isas, const char* name) {
  char here[256];
  Text names(here, sizeof here);
  bool is_known = false;
  for (const Isa* isa : isas) {
    is_known = is_known || std::strcmp(isa->name, name) == 0;
    if (isa->runs_here()) names.add("%s%s", *here ? ", " : "", isa->name);
  }
  return invalid("TILEWISE_CPU_ISA is '%.64s', which %s: use one of %s, or unset it.", name,
                 is_known ? "this machine lacks" : "is no instruction set of this library", here);
}

}  // namespace

std::span<const Isa* const> built_isas() {
  return kIsas;
}

Status choose_isa(std::span<const Isa* const> isas, const char* name, const Isa*& isa) {
  const bool is_forced = name && *name;
  isa = nullptr;
  for (const Isa* candidate : isas) {
    if (!candidate->runs_here()) continue;
    if (!isa) isa = candidate;
    if (!is_forced || std::strcmp(candidate->name, name) != 0) continue;
    isa = candidate;
    return {};
  }
  return is_forced ? refused(isas, name) : Status{};
}

Status choose_isa(const Isa*& isa) {
  return choose_isa(kIsas, settings().instructions, isa);
}

}  // namespace tilewise::cpu
