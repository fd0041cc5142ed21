// Measures the bandwidth of memory by sweeps over more of it than any cache holds.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <new>

#include "bench/peak.h"

namespace tilewise::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Vector [[gnu::vector_size(16)]] = float;

constexpr int kTries = 4;

std::size_t stream_bytes() {
  constexpr std::size_t kLeast = std::size_t{128} << 20, kMost = std::size_t{1} << 30;
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return std::clamp(4 * static_cast<std::size_t>(std::max(0L, cache)), kLeast, kMost);
}

// Keeps four sums, so that additions do not wait for one another.
float sum(const float* memory, std::size_t count) {
  const auto* vectors = reinterpret_cast<const Vector*>(memory);
  Vector a = {}, b = {}, c = {}, d = {};
  for (std::size_t i = 0; i + 4 <= count / 4; i += 4) {
    a += vectors[i];
    b += vectors[i + 1];
    c += vectors[i + 2];
    d += vectors[i + 3];
  }
  const Vector total = (a + b) + (c + d);
  return total[0] + total[1] + total[2] + total[3];
}

void add_scaled(float* to, const float* from, const float* scaled, std::size_t count) {
  const Vector factor = {3, 3, 3, 3};
  for (std::size_t i = 0; i + 4 <= count; i += 4) {
    *reinterpret_cast<Vector*>(to + i) = *reinterpret_cast<const Vector*>(from + i) +
                                         factor * *reinterpret_cast<const Vector*>(scaled + i);
  }
}

}  // namespace

Stream::Stream(Team& team) : team_(team), bytes_(stream_bytes()) {
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // A failure does not matter: small pages serve too, somewhat slower.
  madvise(memory, bytes_, MADV_HUGEPAGE);
  memory_ = static_cast<float*>(memory);
  // Each thread writes its own part first, which places it in memory near that thread.
  best(1, [](float* part, std::size_t count) { std::fill(part, part + count, 1.0F); });
}

Stream::~Stream() {
  munmap(memory_, bytes_);
}

template <class Sweep>
double Stream::best(int tries, const Sweep& sweep) {
  // The floats of three lines of 64 bytes, a line for each of a triad's three arrays.
  constexpr std::size_t kLine = 48;
  const auto threads = static_cast<std::size_t>(team_.size());
  const std::size_t count = bytes_ / sizeof(float) / threads / kLine * kLine;
  double seconds = 0;
  for (int attempt = 0; attempt < tries; ++attempt) {
    const auto start = Clock::now();
    team_.run(
        [&](int worker) { sweep(memory_ + count * static_cast<std::size_t>(worker), count); });
    const double taken = std::chrono::duration<double>(Clock::now() - start).count();
    seconds = attempt == 0 ? taken : std::min(seconds, taken);
  }
  return static_cast<double>(count * threads * sizeof(float)) / std::max(1e-9, seconds);
}

double Stream::read() {
  return best(kTries, [](const float* part, std::size_t count) {
    [[maybe_unused]] const volatile float kept = sum(part, count);
  });
}

double Stream::triad() {
  return best(kTries, [](float* part, std::size_t count) {
    const std::size_t third = count / 3;
    add_scaled(part, part + third, part + 2 * third, third);
  });
}

}  // namespace tilewise::cli
