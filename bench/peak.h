// What this machine can do at most: multiply-adds a second and bytes a second, measured; and what a
// GPU can, by its data.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "bench/team.h"
#include "tilewise/tilewise.h"

namespace tilewise::cli {

// Of multiply-adds in one type, on all threads at once. Two are of bfloat16 products: by the
// vector instruction, and by the tiles of AMX. The last is a GPU's, of products of 16 bits each
// with sums in float32, by its tensor cores.
enum class PeakKind { kFloat32, kFloat64, kBfloat16Dot, kBfloat16Tile, kTensor };

struct Peak {
  double gflops = 0;
  std::string instructions;  // those it was reached with
};

// The best of a few tries of about 10 ms each; nullopt where the processor has no such instruction.
[[nodiscard]] std::optional<Peak> measure_peak(PeakKind kind, Team& team);

// Of a GPU it is not measured but known: multiprocessors x the highest clock that the driver tells
// x what one does a clock. nullopt for a generation whose rate is not known here.
[[nodiscard]] std::optional<Peak> known_peak(PeakKind kind, const tw_device_facts& gpu);

// Memory well beyond the last cache, to be read and written as a stream.
class Stream {
 public:
  explicit Stream(Team& team);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  // Bytes a second, the best of a few sweeps. A triad reads two arrays and writes a third.
  [[nodiscard]] double read();
  [[nodiscard]] double triad();

 private:
  // Bytes a second of the fastest of some sweeps, each thread having a part of its own.
  template <class Sweep>
  double best(int tries, const Sweep& sweep);

  Team& team_;
  std::size_t bytes_;
  float* memory_;
};

}  // namespace tilewise::cli
