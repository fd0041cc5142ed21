#include "bench/peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "bench/peak_kernels.h"

namespace tilewise::cli {
namespace {

constexpr int kTries = 3;
constexpr double kTrySeconds = 0.01;

using Clock = std::chrono::steady_clock;

// Seconds from the first thread's start to the last thread's end.
double time_together(const PeakKernel& kernel, std::int64_t rounds, Team& team) {
  const auto size = static_cast<std::size_t>(team.size());
  std::vector<Clock::time_point> starts(size), ends(size);
  StartingLine line(team.size());
  team.run([&](int worker) {
    const auto place = static_cast<std::size_t>(worker);
    line.wait();
    starts[place] = Clock::now();
    kernel.run(rounds);
    ends[place] = Clock::now();
  });
  const auto first = *std::min_element(starts.begin(), starts.end());
  const auto last = *std::max_element(ends.begin(), ends.end());
  return std::max(1e-9, std::chrono::duration<double>(last - first).count());
}

double best_gflops(const PeakKernel& kernel, Team& team) {
  std::int64_t rounds = 1 << 12;
  double seconds = time_together(kernel, rounds, team);
  // Grows the rounds until a try is long enough, which also raises an idle core's clock.
  while (seconds < kTrySeconds / 2) {
    const double factor = std::clamp(kTrySeconds / seconds, 1.5, 8.0);
    rounds = static_cast<std::int64_t>(static_cast<double>(rounds) * factor);
    seconds = time_together(kernel, rounds, team);
  }
  for (int attempt = 1; attempt < kTries; ++attempt) {
    seconds = std::min(seconds, time_together(kernel, rounds, team));
  }
  return kernel.operations * static_cast<double>(rounds) * team.size() / seconds / 1e9;
}

std::vector<PeakKernel> kernels_of(PeakKind kind) {
  switch (kind) {
    case PeakKind::kFloat32:
      return float32_kernels();
    case PeakKind::kFloat64:
      return float64_kernels();
    case PeakKind::kBfloat16Dot:
      return bfloat16_dot_kernels();
    case PeakKind::kBfloat16Tile:
      return bfloat16_tile_kernels();
    case PeakKind::kTensor:
      break;
  }
  return {};
}

}  // namespace

std::optional<Peak> measure_peak(PeakKind kind, Team& team) {
  std::optional<Peak> best;
  for (const PeakKernel& kernel : kernels_of(kind)) {
    const double gflops = best_gflops(kernel, team);
    if (!best || gflops > best->gflops) best = Peak{gflops, kernel.name};
  }
  return best;
}

}  // namespace tilewise::cli
