// Dropout whose seed lies in memory: the processor reads the seed when the call runs.
#pragma once

#include "problem/problem.h"

namespace tilewise {

// Calls run(problem). If dropout has a state, run gets a copy with the seed read from that state.
template <class Run>
auto with_dropout(const Problem& problem, const Run& run) {
  const Dropout& dropout = problem.dropout;
  if (!dropout.state) return run(problem);
  const auto* state = reinterpret_cast<const core::uint64*>(dropout.state.data);
  Problem drawn = problem;
  drawn.dropout.decide = {state[0], state[1], dropout.decide.threshold()};
  return run(drawn);
}

}  // namespace tilewise
