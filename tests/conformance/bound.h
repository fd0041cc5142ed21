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
  double arithmetic = 0;    // unit roundoff of scores, sums and everything else that is not stored
  double probability = 0;   // of the type in which weights, and gradients of scores, are multiplied
  double output = 0;        // of the type in which the output and most gradients are stored
  double weight_floor = 0;  // what a weight may lose below the smallest normal number of its type
  double floor = 0;         // and what a number of the output may
  double term_floor = 0;    // and what a term of a sum may

  // The relative error of a sum of `count` terms, whose roundings go either way.
  [[nodiscard]] double sum(std::int64_t count) const {
    return 4 * arithmetic * std::sqrt(static_cast<double>(count));
  }
  // The error of a product over `dim` channels, relative to the sum of its terms' absolute values.
  [[nodiscard]] double product(std::int64_t dim) const {
    return (4 + 2 * std::sqrt(static_cast<double>(dim))) * arithmetic;
  }
};

// The precision of a call. Weights may have the type of the inputs.
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
  double largest = 0;  // magnitude of all scores
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
