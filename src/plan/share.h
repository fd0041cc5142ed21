// How many of the workers at hand a problem is worth.
#pragma once

#include "problem/problem.h"

namespace tilewise {

// At least 1, at most `available`. It looks at shapes and the mask's band alone, so it takes no
// time, and a caller who asks for the workspace with no data yet gets the answer that his call
// gets. TILEWISE_LEAST_SHARE, in operations, puts another number in the place of the measured one:
// by 0 all workers take part in the smallest problem, as tests want it.
int workers_worth(const Problem& problem, int available);

}  // namespace tilewise
