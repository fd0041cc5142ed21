// On x86-64 and AArch64 the loops are assembly, so that no compiler, option or sanitizer changes
// the measurement. Multiply-adds with a latency of 4 to 5 cycles, two started a cycle, need 10
// independent accumulators: there are 12 where the processor has 16 vector registers, 24 where 32.
#include "bench/peak_kernels.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <array>
#include <cstddef>

namespace tilewise::cli {
namespace {

#if defined(__x86_64__)

// sum = sum * factor + addend goes to 1 and stays there, without overflow or denormals.
constexpr float kFactor32 = 0.75F, kAddend32 = 0.25F;
constexpr double kFactor64 = 0.75, kAddend64 = 0.25;

[[gnu::target("avx2,fma")]] void fma32_avx2(std::int64_t rounds) {
  __asm__ volatile(
      "vbroadcastss %[factor], %%ymm14\n"
      "vbroadcastss %[addend], %%ymm15\n"
      ".irp i,0,1,2,3,4,5,6,7,8,9,10,11\n vxorps %%ymm\\i, %%ymm\\i, %%ymm\\i\n .endr\n"
      ".p2align 5\n"
      "1:\n"
      ".irp i,0,1,2,3,4,5,6,7,8,9,10,11\n vfmadd213ps %%ymm15, %%ymm14, %%ymm\\i\n .endr\n"
      "dec %[rounds]\n"
      "jnz 1b\n"
      "vzeroupper\n"
      : [rounds] "+r"(rounds)
      : [factor] "m"(kFactor32), [addend] "m"(kAddend32)
      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm14", "xmm15", "cc");
}

[[gnu::target("avx2,fma")]] void fma64_avx2(std::int64_t rounds) {
  __asm__ volatile(
      "vbroadcastsd %[factor], %%ymm14\n"
      "vbroadcastsd %[addend], %%ymm15\n"
      ".irp i,0,1,2,3,4,5,6,7,8,9,10,11\n vxorps %%ymm\\i, %%ymm\\i, %%ymm\\i\n .endr\n"
      ".p2align 5\n"
      "1:\n"
      ".irp i,0,1,2,3,4,5,6,7,8,9,10,11\n vfmadd213pd %%ymm15, %%ymm14, %%ymm\\i\n .endr\n"
      "dec %[rounds]\n"
      "jnz 1b\n"
      "vzeroupper\n"
      : [rounds] "+r"(rounds)
      : [factor] "m"(kFactor64), [addend] "m"(kAddend64)
      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm14", "xmm15", "cc");
}

#define TW_24 "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"
#define TW_CLEAR_24 ".irp i," TW_24 "\n vpxord %%zmm\\i, %%zmm\\i, %%zmm\\i\n .endr\n"
#define TW_LOOP_24(instruction) \
  ".p2align 6\n"                \
  "1:\n"                        \
  ".irp i," TW_24 "\n " instruction " %%zmm31, %%zmm30, %%zmm\\i\n .endr\n"
#define TW_CLOBBERED_24                                                                         \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",      \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", \
      "xmm21", "xmm22", "xmm23", "xmm30", "xmm31", "cc"

[[gnu::target("avx512f")]] void fma32_avx512(std::int64_t rounds) {
  __asm__ volatile("vbroadcastss %[factor], %%zmm30\n"
                   "vbroadcastss %[addend], %%zmm31\n"  //
                   TW_CLEAR_24 TW_LOOP_24("vfmadd213ps") 
                   "dec %[rounds]\n"
                   "jnz 1b\n"
                   "vzeroupper\n"
                   : [rounds] "+r"(rounds)
                   : [factor] "m"(kFactor32), [addend] "m"(kAddend32)
                   : TW_CLOBBERED_24);
}

[[gnu::target("avx512f")]] void fma64_avx512(std::int64_t rounds) {
  __asm__ volatile("vbroadcastsd %[factor], %%zmm30\n"
                   "vbroadcastsd %[addend], %%zmm31\n"  //
                   TW_CLEAR_24 TW_LOOP_24("vfmadd213pd") 
                   "dec %[rounds]\n"
                   "jnz 1b\n"
                   "vzeroupper\n"
                   : [rounds] "+r"(rounds)
                   : [factor] "m"(kFactor64), [addend] "m"(kAddend64)
                   : TW_CLOBBERED_24);
}

// Two bfloat16 of 2^-7: sums of their products stay far from overflow.
constexpr std::uint32_t kPair = 0x3C003C00;

[[gnu::target("avx512f,avx512bf16")]] void dot_avx512(std::int64_t rounds) {
  __asm__ volatile("vpbroadcastd %[pair], %%zmm30\n"
                   "vpbroadcastd %[pair], %%zmm31\n"  //
                   TW_CLEAR_24 TW_LOOP_24("vdpbf16ps") 
                   "dec %[rounds]\n"
                   "jnz 1b\n"
                   "vzeroupper\n"
                   : [rounds] "+r"(rounds)
                   : [pair] "m"(kPair)
                   : TW_CLOBBERED_24);
}

#undef TW_24
#undef TW_CLEAR_24
#undef TW_LOOP_24
#undef TW_CLOBBERED_24

// The layout that LDTILECFG reads.
struct TileConfig {
  std::uint8_t palette = 1, start_row = 0;
  std::array<std::uint8_t, 14> reserved = {};
  std::array<std::uint16_t, 16> row_bytes = {64, 64, 64, 64, 64, 64, 64, 64};
  std::array<std::uint8_t, 16> rows = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// Four accumulators from two tiles on each side, which uses all eight tiles.
[[gnu::target("amx-tile,amx-bf16")]] void tile_amx(std::int64_t rounds) {
  alignas(64) const TileConfig config;
  alignas(64) std::array<std::uint32_t, 256> tile;
  tile.fill(kPair);
  __asm__ volatile(
      "ldtilecfg %[config]\n"
      ".irp i,0,1,2,3\n tilezero %%tmm\\i\n .endr\n"
      ".irp i,4,5,6,7\n tileloadd (%[tile],%[stride],1), %%tmm\\i\n .endr\n"
      ".p2align 6\n"
      "1:\n"
      "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n"
      "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"
      "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n"
      "tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n"
      "dec %[rounds]\n"
      "jnz 1b\n"
      "tilerelease\n"
      : [rounds] "+r"(rounds)
      : [config] "m"(config), [tile] "r"(tile.data()), [stride] "r"(std::int64_t{64}), "m"(tile)
      : "cc", "memory");
}

// Whether the processor has AMX tiles and Linux lets this process use them. A process must ask,
// because tiles enlarge the state of a thread that Linux saves.
bool has_tiles() {
#if defined(__linux__)
  constexpr unsigned kBfloat16Bit = 1U << 22, kTileBit = 1U << 24;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kBfloat16Bit) == 0 || (d & kTileBit) == 0) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

#elif defined(__aarch64__)

#define TW_24 "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"
#define TW_FMLA_24(lanes)                                                 \
  "fmov v30." lanes                                                       \
  ", #0.5\n"                                                              \
  "fmov v31." lanes                                                       \
  ", #0.5\n"                                                              \
  ".irp i," TW_24                                                         \
  "\n movi v\\i\\().16b, #0\n .endr\n"                                    \
  "1:\n"                                                                  \
  ".irp i," TW_24 "\n fmla v\\i\\()." lanes ", v30." lanes ", v31." lanes \
  "\n .endr\n"                                                            \
  "subs %[rounds], %[rounds], #1\n"                                       \
  "b.ne 1b\n"
#define TW_CLOBBERED_24                                                                          \
  "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", \
      "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v30", "v31", "cc"

void fma32_neon(std::int64_t rounds) {
  __asm__ volatile(TW_FMLA_24("4s") : [rounds] "+r"(rounds) : : TW_CLOBBERED_24);
}

void fma64_neon(std::int64_t rounds) {
  __asm__ volatile(TW_FMLA_24("2d") : [rounds] "+r"(rounds) : : TW_CLOBBERED_24);
}

#undef TW_24
#undef TW_FMLA_24
#undef TW_CLOBBERED_24

#endif

// The loop in vectors of 16 bytes, for processors that have no assembly here.
template <class Element>
void multiply_add(std::int64_t rounds) {
  using Vector [[gnu::vector_size(16)]] = Element;
  // Different initial values, or the compiler would find eight equal chains and keep one.
  const volatile Element given = Element(0.5);
  const Vector factor = given - Vector{};
  Vector a = factor, b = a + a, c = b + a, d = c + a, e = d + a, f = e + a, g = f + a, h = g + a;
  for (std::int64_t round = 0; round < rounds; ++round) {
    a = a * factor + factor;
    b = b * factor + factor;
    c = c * factor + factor;
    d = d * factor + factor;
    e = e * factor + factor;
    f = f * factor + factor;
    g = g * factor + factor;
    h = h * factor + factor;
  }
  const Vector sum = a + b + c + d + e + f + g + h;
  [[maybe_unused]] const volatile Element kept = sum[0];
}

}  // namespace

std::vector<PeakKernel> float32_kernels() {
  std::vector<PeakKernel> kernels;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) kernels.push_back({"AVX-512", fma32_avx512, 24 * 32.0});
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    kernels.push_back({"AVX2 FMA", fma32_avx2, 12 * 16.0});
  }
#elif defined(__aarch64__)
  kernels.push_back({"NEON", fma32_neon, 24 * 8.0});
#endif
  if (kernels.empty()) kernels.push_back({"baseline", multiply_add<float>, 8 * 8.0});
  return kernels;
}

std::vector<PeakKernel> float64_kernels() {
  std::vector<PeakKernel> kernels;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) kernels.push_back({"AVX-512", fma64_avx512, 24 * 16.0});
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    kernels.push_back({"AVX2 FMA", fma64_avx2, 12 * 8.0});
  }
#elif defined(__aarch64__)
  kernels.push_back({"NEON", fma64_neon, 24 * 4.0});
#endif
  if (kernels.empty()) kernels.push_back({"baseline", multiply_add<double>, 8 * 4.0});
  return kernels;
}

std::vector<PeakKernel> bfloat16_dot_kernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bf16")) return {{"VDPBF16PS", dot_avx512, 24 * 64.0}};
#endif
  return {};
}

std::vector<PeakKernel> bfloat16_tile_kernels() {
#if defined(__x86_64__)
  static const bool are_there = has_tiles();
  if (are_there) return {{"TDPBF16PS", tile_amx, 4 * 16384.0}};
#endif
  return {};
}

}  // namespace tilewise::cli
