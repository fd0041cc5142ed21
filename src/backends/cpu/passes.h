// The passes over a problem that this backend knows, in float or double, on any instruction set.
#pragma once

#include "backends/cpu/forward/task_grid.h"
#include "plan/backend.h"

namespace tilewise::cpu {

// The choices that planning makes for a call; its Plan keeps them.
struct Decided {
  const Isa* isa = nullptr;
  TaskGrid grid;                  // of forward's tasks
  int64 task_tiles = 1;           // backward: tiles of keys in a task
  bool decodes = false;           // backward: DecodePass runs, for few queries
  int64 common = 0, scratch = 0;  // bytes of workspace: shared, and of each worker
};

struct Planned {
  Tile tile;
  int64 workspace_bytes;
};

// Each plan function reads decided.isa, may replace it, and fills in the rest of `decided`.
template <class T>
Planned forward_plan(const Problem& problem, int workers, Decided& decided);
template <class T>
void forward(const Problem& problem, const Decided& decided, const Resources& resources);

template <class T>
Planned backward_plan(const Problem& problem, int workers, Decided& decided);
template <class T>
void backward(const Problem& problem, const Decided& decided, const Resources& resources);

template <class T>
Planned probabilities_plan(const Problem& problem, int workers, Decided& decided);
template <class T>
void probabilities(const Problem& problem, const Decided& decided, const Resources& resources);

void rotary(const RotaryProblem& problem, const Isa& isa, const Parallel& parallel);
void append(const AppendProblem& problem, const Isa& isa, const Parallel& parallel);
void merge(const MergeProblem& problem, const Isa& isa, const Parallel& parallel);

}  // namespace tilewise::cpu
