// How many of the workers at hand a problem is worth.
#pragma once

#include "plan/backend.h"

namespace tilewise {

// At least 1, at most `available`. It looks at shapes and the mask's band alone, so it takes no
// time, and a caller who asks for the workspace with no data yet gets the answer that his call
// gets. TILEWISE_LEAST_SHARE, in operations, puts another number in the place of the measured one:
// by 0 all workers take part in the smallest problem, as tests want it.
int workers_worth(const Problem& problem, int available);

// The same of a machine, some of whose workers cannot be left out: it is all of them or one.
inline int workers_for(const Problem& problem, const Machine& machine) {
  const int worth = workers_worth(problem, machine.workers);
  return worth > 1 && machine.all_workers ? machine.workers : worth;
}

}  // namespace tilewise
