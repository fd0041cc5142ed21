// What a machine can do at most. On the processor: multiply-adds and bytes a second, both measured.
// On a GPU: multiply-adds a second, computed from its clock and number of multiprocessors.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "bench/team.h"
#include "tilewise/tilewise.h"

namespace tilewise::cli {

// Kinds of multiply-adds, on all threads at once. kBfloat16Dot is VDPBF16PS, kBfloat16Tile AMX.
// kTensor is a GPU's tensor cores: products of 16 bits, sums in float32.
enum class PeakKind { kFloat32, kFloat64, kBfloat16Dot, kBfloat16Tile, kTensor };

struct Peak {
  double gflops = 0;
  std::string instructions;  // that reach it
};

// The best of a few tries of about 10 ms each; nullopt if the processor has no such instruction.
[[nodiscard]] std::optional<Peak> measure_peak(PeakKind kind, Team& team);

// A GPU's peak, computed and not measured: multiprocessors x the highest clock that the driver
// reports x operations of a multiprocessor in a clock cycle. nullopt for an architecture that the
// table in gpu_peak.cpp lacks.
[[nodiscard]] std::optional<Peak> known_peak(PeakKind kind, const tw_device_facts& gpu);

// Measures the bandwidth of memory, on arrays much larger than the last cache.
class Stream {
 public:
  explicit Stream(Team& team);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  // Bytes a second of the fastest sweep. A triad reads two arrays and writes a third.
  [[nodiscard]] double read();
  [[nodiscard]] double triad();

 private:
  // Bytes a second of the fastest of `tries` sweeps. Each thread has a part of the memory.
  template <class Sweep>
  double best(int tries, const Sweep& sweep);

  Team& team_;
  std::size_t bytes_;
  float* memory_;
};

}  // namespace tilewise::cli
