// What this machine can do at most: multiply-adds a second and bytes a second, measured.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/team.h"

namespace tilewise::cli {

// Of multiply-adds in one type, on all threads at once. Two are of bfloat16 products: by the
// vector instruction, and by the tiles of AMX.
enum class PeakKind { kFloat32, kFloat64, kBfloat16Dot, kBfloat16Tile };

struct Peak {
  double gflops = 0;
  std::string instructions;  // those it was reached with
};

// The best of a few tries of about 10 ms each; nullopt where the processor has no such instruction.
[[nodiscard]] std::optional<Peak> measure_peak(PeakKind kind, Team& team);

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
