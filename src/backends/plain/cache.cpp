// Rotary embedding, and appending keys and values to a cache. Both go element by element, because
// they are cheap beside the attention they serve.
#include "backends/plain/passes.h"
#include "host/cache_ops.h"

namespace tilewise::plain {

void rotary(const RotaryProblem& problem, const Parallel& parallel) {
  rotate(problem, parallel, move_elements);
}

void append(const AppendProblem& problem, const Parallel& parallel) {
  tilewise::append(problem, parallel, move_elements);
}

}  // namespace tilewise::plain
