// A request for attention with all its options, drawn from bytes: right, small, and of every kind.
#pragma once

#include "fuzz/surface.h"

namespace tilewise::fuzz {

struct Options {
  Roomy<tw_options> all;
  Roomy<tw_mask> mask;
  Roomy<tw_scores> scores;
  Roomy<tw_dropout> dropout;
  Roomy<tw_sequences> queries, keys;
  Roomy<tw_cache> cache;
  Roomy<tw_scaling> scaling;
};

struct Attention {
  Attention(Bytes& bytes, Memory& memory);
  Attention(const Attention&) = delete;
  Attention& operator=(const Attention&) = delete;

  tw_operation operation = TW_FORWARD;
  Roomy<tw_request> request;
  Options options;
  Roomy<tw_gradients> gradients;
  std::uint64_t state[2] = {1, 2};

  // What is linked to the request and belongs to this operation.
  [[nodiscard]] Surface surface();
  // Multiplications, at most; and the larger dim. For calls that were accepted.
  [[nodiscard]] double cost() const;
  [[nodiscard]] double widest() const;
};

}  // namespace tilewise::fuzz
