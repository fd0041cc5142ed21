// What a problem costs: arithmetic, and bytes moved by this plan and in theory.
#pragma once

#include "plan/backend.h"

namespace tilewise {

struct Work {
  double pairs = 0;        // (query, key) pairs of all heads
  double visible = 0;      // pairs inside the band and blocks
  double flops = 0;        // of the products that visible pairs need
  double tiled_bytes = 0;  // read and written by a walk with this plan's tile
  double model_bytes =
      0;  // N^2 d^2 / M: what any tiling must move for the scores, up to a constant
  double standard_bytes = 0;  // N d + N^2: with the score matrix in memory
  double fast_bytes = 0;      // M: the memory close to one core
};

// The work of a problem that is walked in such tiles; `fast_bytes` is M above.
Work work_of(const Problem& problem, const Tile& tile, double fast_bytes);

// The size of one core's second-level cache on this machine.
double second_cache_bytes(const Machine&);

// Seconds that this plan takes on the processor, from the rate of a short run on zeros; 0 if that
// run was not possible.
double predicted_seconds(const Problem& problem, const Plan& plan, const Work& work,
                         const Parallel& parallel);

}  // namespace tilewise
