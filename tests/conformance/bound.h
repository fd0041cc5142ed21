// How far a correct kernel of limited precision may be from the formulas: the bounds of
// docs/numerics.md, worked out for each element from the oracle's own numbers.
#pragma once

#include "oracle/attention.h"
#include "tilewise/tilewise.h"

namespace tilewise::conformance {

struct Precision {
  double probability = 0;  // unit roundoff of the type in which P meets V
  double output = 0;       // unit roundoff of the output's type
  double floor = 0;        // half of the smallest subnormal of either
};

// Kernels may hold P in the type of the inputs.
[[nodiscard]] Precision precision_of(tw_dtype input, tw_dtype output);

struct Bound {
  oracle::Tensor output;  // (queries, heads, value dim)
  oracle::Tensor lse;     // (heads, queries)
};

[[nodiscard]] Bound bound_of(const oracle::Attention& problem, const oracle::Result& result,
                             const Precision& precision);

}  // namespace tilewise::conformance
