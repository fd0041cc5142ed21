// The NVRTC libraries of this machine in the order in which a kernel asks them. Whoever compiles
// and whoever says what would be compiled go the same way.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "backends/cuda/compiler/disk_cache.h"
#include "backends/cuda/compiler/nvrtc.h"
#include "backends/cuda/compiler/program.h"
#include "backends/cuda/compiler/surroundings.h"
#include "backends/cuda/compiler/variant.h"

namespace tilewise::cuda {

// Where the way ended.
struct Stop {
  enum class At { kNowhere, kCache, kNvrtc } at = At::kNowhere;
  NvrtcFile nvrtc;  // by which the cache's cubin was made; or that which was used
};

class Compilers {
 public:
  // Nothing is searched before somebody asks. `around` has to live as long.
  Compilers(const Surroundings& around, int driver_version);

  // What is done with one that is open and knows the target. With TW_UNSUPPORTED it gives way to
  // the next; any other answer is the way's own.
  using Use = std::function<Status(const Nvrtc& nvrtc, const NvrtcFile& file)>;

  struct Question {
    const Program& program;
    const Target& target;
    const DiskCache& cache;
    const Use& use;
  };

  // From the first on: what the cache has of it, else `use` of it. Where none is of use, what the
  // cache has of one that is not here. Else the first one's reason, or why there is none. May be
  // called by several threads at once.
  Status walk(const Question& question, Cubin& kept, Stop& stop) const;

 private:
  struct Candidate {
    explicit Candidate(NvrtcFile found) : named(std::move(found)), opened(named) {}

    const NvrtcFile named;  // as its path says
    std::once_flag once;
    NvrtcFile opened;  // as it says itself
    Nvrtc nvrtc;
    Status status;  // of opening it
  };

  void search() const;
  static Status ask(Candidate& candidate, const Question& question, Cubin& kept, Stop& stop);

  const Surroundings& around_;
  int driver_version_;
  mutable std::once_flag searched_;
  mutable std::deque<Candidate> candidates_;  // the best first
  mutable Status why_none_;
};

}  // namespace tilewise::cuda
