// The largest error of a correct kernel before it rounds a result to store it: the bounds of
// docs/numerics.md, for each element, from the oracle's own numbers.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "oracle/attention.h"
#include "tilewise/tilewise.h"

namespace tilewise::conformance {

struct Precision {
  double arithmetic = 0;    // of scores and sums: the unit roundoff of float32, twice float64's
  double probability = 0;   // unit roundoff of weights and gradients of scores in products
  double output = 0;        // unit roundoff of the type of the output and of most gradients
  double weight_floor = 0;  // absolute error of a weight below its type's smallest normal number
  double floor = 0;         // the same of an element of the output
  double term_floor = 0;    // the same of a term of a sum, or of a weight before it is rounded

  // What a sum of `count` terms may be off by, relative to the sum of their absolute values. This
  // grows as the square root of `count`, because roundings go either way.
  [[nodiscard]] double sum(std::int64_t count) const {
    return 4 * arithmetic * std::sqrt(static_cast<double>(count));
  }
  // What a product over `dim` channels may be off by, relative to the same sum of its terms.
  [[nodiscard]] double product(std::int64_t dim) const {
    return (4 + 2 * std::sqrt(static_cast<double>(dim))) * arithmetic;
  }
};

// The precision of a call. Kernels may round weights to the type of the inputs.
[[nodiscard]] Precision precision_of(tw_dtype input, tw_dtype output);

// One key as a row sees it: weight, dropout's factor, and the sum of the absolute terms of its
// score.
struct SeenKey {
  std::int64_t index = 0;
  double weight = 0, factor = 0, magnitude = 0;
};

// What the bounds of output, lse and gradients of one row start from.
struct SeenRow {
  SeenRow(const oracle::Attention& problem, const oracle::Result& result, std::int64_t head,
          std::int64_t query);

  // The largest error of a finite lse.
  [[nodiscard]] double lse_bound(const Precision& precision) const;

  std::vector<SeenKey> keys;  // the visible ones
  double sink_weight = 0, sink = 0;
  double lse = 0;
  double sum = 0;      // of exp(score - max)
  double largest = 0;  // the largest magnitude of a score
  std::int64_t dim = 0;
};

struct ForwardBound {
  oracle::Tensor output;         // (queries, heads, value dim)
  oracle::Tensor lse;            // (heads, queries)
  oracle::Tensor probabilities;  // (heads, queries, keys)
};

[[nodiscard]] ForwardBound bound_forward(const oracle::Attention& problem,
                                         const oracle::Result& result, const Precision& precision);

}  // namespace tilewise::conformance
