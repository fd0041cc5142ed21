// A GPU's peak, from the figures of NVIDIA's architecture papers.
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "bench/peak.h"

namespace tilewise::cli {
namespace {

// Operations of one multiprocessor in one clock; a multiply-add counts as two.
struct Rates {
  int architecture;
  double float32, float64, tensor;
};

// GeForce models reach only half of `tensor` with sums in float32, so the share of the peak that is
// shown for them is half of the true one.
constexpr std::array<Rates, 8> kRates{{
    {80, 128, 64, 2048},    // A100
    {86, 256, 4, 1024},     // A40, RTX 30
    {87, 256, 4, 2048},     // Orin
    {89, 256, 4, 1024},     // L40, RTX 40
    {90, 256, 128, 4096},   // H100, H200
    {100, 256, 128, 8192},  // B200
    {103, 256, 4, 8192},    // B300
    {120, 256, 4, 1024},    // RTX PRO 6000, RTX 50
}};

}  // namespace

std::optional<Peak> known_peak(PeakKind kind, const tw_device_facts& gpu) {
  const auto known = std::find_if(kRates.begin(), kRates.end(), [&](const Rates& rates) {
    return rates.architecture == gpu.architecture;
  });
  const bool is_asked_of_gpus =
      kind == PeakKind::kFloat32 || kind == PeakKind::kFloat64 || kind == PeakKind::kTensor;
  if (known == kRates.end() || !is_asked_of_gpus) return std::nullopt;
  const bool is_tensor = kind == PeakKind::kTensor;
  const double rate = is_tensor                    ? known->tensor
                      : kind == PeakKind::kFloat32 ? known->float32
                                                   : known->float64;
  const double clock = gpu.clock_khz / 1e6;
  return Peak{
      gpu.processors * clock * rate,
      fmt::format("{}, {} multiprocessors x {:.2f} GHz x {:.0f}",
                  is_tensor ? "tensor cores" : "multiply-adds", gpu.processors, clock, rate)};
}

}  // namespace tilewise::cli
