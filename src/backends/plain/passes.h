// The passes of the plain backend. Those of attention run in float or double, in a workspace whose
// size their *_workspace function tells.
#pragma once

#include "plan/backend.h"

namespace tilewise::plain {

// Bytes of workspace that a pass takes with `workers` threads.
template <class T>
int64 forward_workspace(const Problem& problem, int workers);
template <class T>
int64 backward_workspace(const Problem& problem, int workers);
template <class T>
int64 probabilities_workspace(const Problem& problem, int workers);

template <class T>
void forward(const Problem& problem, const Resources& resources);
template <class T>
void backward(const Problem& problem, const Resources& resources);
template <class T>
void probabilities(const Problem& problem, const Resources& resources);

void rotary(const RotaryProblem& problem, const Parallel& parallel);
void append(const AppendProblem& problem, const Parallel& parallel);
void merge(const MergeProblem& problem, const Parallel& parallel);

}  // namespace tilewise::plain
