// Attention and its gradients from the formulas, in float64, one sequence at a time, every matrix
// written out. It shares no line with the library, so it shares no mistake with it. Whoever has a
// batch, packed rows or pages takes each sequence out and calls this once for each.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "oracle/dropout.h"
#include "oracle/tensor.h"

namespace tilewise::oracle {

enum class Diagonal { kBottomRight, kTopLeft, kShifted };

// Query i sees key j when -left <= j - i - diagonal <= right, and when both lie in one chunk.
struct Band {
  std::optional<std::int64_t> left, right;
  Diagonal diagonal = Diagonal::kBottomRight;
  std::int64_t shift = 0;  // the diagonal of kShifted
  std::int64_t chunk = 0;  // 0: no chunks
};

// Hidden keys beyond the band. Both tensors hold 0 for hidden, anything else for visible.
struct Hidden {
  Tensor visible;                               // (heads|1, queries|1, keys|1)
  Tensor blocks;                                // (heads|1, query blocks, key blocks)
  std::int64_t block_query = 0, block_key = 0;  // the size of one block
};

struct Attention {
  Tensor query, key, value;     // (queries, heads, dim), (keys, key heads, dim), (.., value dim)
  std::optional<double> scale;  // 1 / sqrt(dim) when not given
  double softcap = 0;           // 0: none
  std::vector<double> slopes, sinks;  // one a query head; empty: none
  Tensor bias;                        // (heads|1, queries|1, keys|1)
  Band band;
  Hidden hidden;
  std::optional<Dropout> dropout;

  [[nodiscard]] std::int64_t queries() const { return query.shape[0]; }
  [[nodiscard]] std::int64_t heads() const { return query.shape[1]; }
  [[nodiscard]] std::int64_t keys() const { return key.shape[0]; }
  [[nodiscard]] std::int64_t key_head(std::int64_t head) const {
    return head / (heads() / key.shape[1]);
  }
};

// One element of the score matrix, and what error bounds and gradients need to know of it.
struct Score {
  bool visible = false;
  double value = 0;       // after scale, softcap, ALiBi and bias
  double magnitude = 0;   // |scale| sum |q||k| + |alibi| + |bias|: what rounding errors go with
  double derivative = 0;  // of value by q.k
};

[[nodiscard]] std::int64_t diagonal(const Attention& problem);
[[nodiscard]] bool is_visible(const Attention& problem, std::int64_t head, std::int64_t query,
                              std::int64_t key);
[[nodiscard]] Score score(const Attention& problem, std::int64_t head, std::int64_t query,
                          std::int64_t key);

struct Result {
  Tensor output;         // (queries, heads, value dim)
  Tensor lse;            // (heads, queries)
  Tensor probabilities;  // (heads, queries, keys): exp(score - row max), negative where dropped
  Tensor weights;        // (heads, queries, keys): the softmax, sink included, before dropout
  std::vector<Score> scores;  // (heads, queries, keys)

  [[nodiscard]] const Score* score_row(std::int64_t head, std::int64_t query) const {
    return scores.data() + (weights.row(head, query) - weights.values.data());
  }
};

[[nodiscard]] Result forward(const Attention& problem);

struct Gradients {
  Tensor query, key, value;           // shaped like what they differentiate
  Tensor bias;                        // (heads, queries, keys), not yet summed over broadcasts
  std::vector<double> slopes, sinks;  // one a query head
};

// Gradients that arrive: at the output (queries, heads, value dim), and at lse (heads, queries),
// absent for none.
struct Arriving {
  Tensor output, lse;
};

[[nodiscard]] Gradients backward(const Attention& problem, const Result& result,
                                 const Arriving& arriving);

}  // namespace tilewise::oracle
