// The memory of a case: every tensor of the call, laid out and filled. Rows that no sequence owns
// are NaN.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "conformance/case.h"
#include "conformance/field.h"
#include "conformance/guarded.h"

namespace tilewise::conformance {

struct SideFields {
  Field offsets, used, start;
  Field page_table, batch_index;  // of a cache: of keys alone
};

struct ScoreFields {
  Field slopes, bias, sinks, visible, blocks;
};

struct ScalingFields {
  Field query, key, value, output_gradient;
};

struct GradientFields {
  Field output, lse;                             // in
  Field query, key, value, bias, slopes, sinks;  // out
};

struct Setup {
  Field query, key, value, output, lse, probabilities;
  SideFields queries, keys;
  ScoreFields scores;
  ScalingFields scaling;
  GradientFields gradients;
  Guarded state;  // of dropout: {seed, offset}

  using Named = std::pair<std::string, Field*>;
  [[nodiscard]] std::vector<Named> inputs();
  [[nodiscard]] std::vector<Named> gradient_outputs();
};

[[nodiscard]] Setup make_setup(const Case& drawn);

// Where element (b, i, h, d) of query, key, value, output or their gradients lies in a tensor that
// is laid out as `side` says; and where element (b, h, i) of lse lies.
[[nodiscard]] Index row_index(const SideCase& side, std::int64_t b, std::int64_t i, std::int64_t h,
                              std::int64_t d = 0);
[[nodiscard]] Index lse_index(const SideCase& side, std::int64_t b, std::int64_t h, std::int64_t i);

// The index in a tensor each of whose sizes is either 1 or whole.
[[nodiscard]] Index broadcast_index(const Field& field, const Index& index);

}  // namespace tilewise::conformance
