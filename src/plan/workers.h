// How many of the workers at hand a problem is worth.
#pragma once

#include "plan/backend.h"

namespace tilewise {

// How many workers the problem is worth: at least 1, at most `available`. Of the problem it reads
// only the operation, the shapes and the mask's band, so it takes no time, and tw_workspace, which
// is asked without data, gets the same answer as the call. TILEWISE_LEAST_SHARE, in operations,
// replaces the measured threshold; with 0, which tests use, all workers take part in the smallest
// problem.
int workers_worth(const Problem& problem, int available);

// workers_worth for a machine; if it must use all its workers or one, more than one means all.
inline int workers_for(const Problem& problem, const Machine& machine) {
  const int worth = workers_worth(problem, machine.workers);
  return worth > 1 && machine.all_workers ? machine.workers : worth;
}

}  // namespace tilewise
