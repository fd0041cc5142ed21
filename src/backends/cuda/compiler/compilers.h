// The NVRTC libraries of this machine, in the order in which they are tried. Compiling a kernel and
// reporting what would compile it use the same search.
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

// Where a search ended.
struct Stop {
  enum class At { kNowhere, kCache, kNvrtc } at = At::kNowhere;
  NvrtcFile nvrtc;  // the NVRTC that made the cached cubin, or that was used
};

class Compilers {
 public:
  // The search for libraries is lazy. `around` must outlive this.
  Compilers(const Surroundings& around, int driver_version);

  // What to do with an open library that knows the target. TW_UNSUPPORTED makes the search try the
  // next library; any other result ends the search.
  using Use = std::function<Status(const Nvrtc& nvrtc, const NvrtcFile& file)>;

  struct Question {
    const Program& program;
    const Target& target;
    const DiskCache& cache;
    const Use& use;
  };

  // Asks each library in order: takes the cubin that it compiled earlier from the cache, else calls
  // `use`. If no library works, takes a cached cubin of a library that is not installed here. If
  // there is none, returns the failure of the first library, or why no library was found. Thread
  // safe.
  Status walk(const Question& question, Cubin& kept, Stop& stop) const;

 private:
  struct Candidate {
    explicit Candidate(NvrtcFile found) : named(std::move(found)), opened(named) {}

    const NvrtcFile named;  // as far as its path tells
    std::once_flag once;
    NvrtcFile opened;  // as the library says
    Nvrtc nvrtc;
    Status status;  // result of opening it
  };

  void search() const;
  static Status ask(Candidate& candidate, const Question& question, Cubin& kept, Stop& stop);

  const Surroundings& around_;
  int driver_version_;
  mutable std::once_flag searched_;
  mutable std::deque<Candidate> candidates_;  // best first
  mutable Status why_none_;
};

}  // namespace tilewise::cuda
