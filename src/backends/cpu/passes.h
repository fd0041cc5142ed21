// The passes over a problem that this backend knows, in float or double, on any instruction set.
#pragma once

#include "backends/cpu/kernels.h"
#include "plan/backend.h"

namespace tilewise::cpu {

struct Planned {
  Tile tile;
  int64 workspace_bytes;
};

template <class T>
Planned forward_plan(const Problem& problem, const Isa& isa, int workers);
template <class T>
void forward(const Problem& problem, const Isa& isa, int workers, const Resources& resources);

template <class T>
Planned backward_plan(const Problem& problem, const Isa& isa, int workers);
template <class T>
void backward(const Problem& problem, const Isa& isa, int workers, const Resources& resources);

template <class T>
Planned probabilities_plan(const Problem& problem, const Isa& isa, int workers);
template <class T>
void probabilities(const Problem& problem, const Isa& isa, int workers, const Resources& resources);

// The operations beside attention. They are refused, having done nothing, where the environment has
// come to ask for an instruction set that cannot be had.
Status rotary(const RotaryProblem& problem, const Resources& resources);
Status append(const AppendProblem& problem, const Resources& resources);
Status merge(const MergeProblem& problem, const Resources& resources);

}  // namespace tilewise::cpu
