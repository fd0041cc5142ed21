// How far a correct result may lie from the exact one, element by element, for plain attention:
// from the rounding of each product and sum and the condition of what they go into.
#pragma once

#include <cstdint>

#include "oracle/attention.h"

namespace tilewise::cli {

// Unit roundoffs: of the arithmetic, of operands and results as they are stored; and what is lost
// to the smallest numbers of the type.
struct Precision {
  double arithmetic, stored, smallest;
};
[[nodiscard]] Precision precision_of(std::int32_t dtype);

struct Bounds {
  oracle::Tensor output, lse;        // like oracle::Result's
  oracle::Tensor query, key, value;  // like oracle::Gradients'
};

// `arriving` is the gradient at the output.
[[nodiscard]] Bounds bounds_of(const oracle::Attention& problem, const oracle::Result& result,
                               const oracle::Gradients& gradients, const oracle::Tensor& arriving,
                               const Precision& precision);

}  // namespace tilewise::cli
