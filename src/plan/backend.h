// The one interface between the library and its backends, and the value that connects them: a Plan.
#pragma once

#include <cstddef>

#include "parallel/parallel.h"
#include "problem/problem.h"

namespace tilewise {

struct Machine {
  tw_device device{TW_CPU, 0};
  int workers = 1;
};

struct Tile {
  int64 rows = 0, columns = 0;
};

struct Backend;

// How a Problem will be run. A value: it can be kept, compared and printed.
struct Plan {
  const Backend* backend = nullptr;
  Tile tile;
  int workers = 1;
  int64 workspace_bytes = 0;
  const void* variant = nullptr;  // the backend's own: what it chose to run this with
  char note[256] = "";  // what a reader of `explain` should know about the speed of this choice
};

// What a run works with. The workspace is at least as large as the plan says.
struct Resources {
  const Parallel& parallel;
  std::byte* workspace = nullptr;
};

struct Backend {
  const char* name;
  const char* summary;

  // Ok, or the sentence why not. TW_UNSUPPORTED leaves the call to the next backend; TW_INVALID
  // says that what was asked of this one cannot be meant, and refuses the call. `runs_on` answers
  // for the operations beside attention.
  Status (*runs_on)(const Machine&);
  Status (*accepts)(const Problem&, const Machine&);
  Plan (*plan)(const Problem&, const Machine&);
  Status (*run)(const Problem&, const Plan&, const Resources&);

  // Operations beside attention; they need no plan and no workspace.
  Status (*rotary)(const RotaryProblem&, const Resources&);
  Status (*append)(const AppendProblem&, const Resources&);
  Status (*merge)(const MergeProblem&, const Resources&);
};

// Best first. The last one, plain, takes whatever runs on a processor.
inline constexpr int kBackendCount = 2;
extern const Backend* const kBackends[kBackendCount];

// The first backend of the list that accepts, or the one that TILEWISE_BACKEND names, has planned.
Status choose(const Problem& problem, const Machine& machine, Plan& plan);

// For the operations beside attention.
Status choose(const Machine& machine, const Backend*& backend);

}  // namespace tilewise
