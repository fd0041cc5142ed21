// Requests beside attention, drawn from bytes: rotary embedding, append and merge.
#pragma once

#include <array>

#include "fuzz/drawing.h"
#include "fuzz/surface.h"

namespace tilewise::fuzz {

struct Rotary {
  Rotary(Bytes& bytes, Memory& memory);
  Rotary(const Rotary&) = delete;
  Rotary& operator=(const Rotary&) = delete;

  Roomy<tw_rotary_request> request;
  Roomy<tw_rotation> rotation;
  Roomy<tw_sequences> sequences;

  [[nodiscard]] Surface surface();
};

struct Append {
  Append(Bytes& bytes, Memory& memory);
  Append(const Append&) = delete;
  Append& operator=(const Append&) = delete;

  Roomy<tw_append_request> request;
  Roomy<tw_sequences> keys, queries;
  Roomy<tw_cache> cache;
  Roomy<tw_rotation> rotation;

  [[nodiscard]] Surface surface();
};

struct Merge {
  static constexpr std::int64_t kMostParts = 3;

  Merge(Bytes& bytes, Memory& memory);
  Merge(const Merge&) = delete;
  Merge& operator=(const Merge&) = delete;

  Roomy<tw_merge_request> request;
  std::array<tw_tensor, kMostParts> outputs = {}, lses = {};

  [[nodiscard]] Surface surface();
  // There are no more tensors behind the two pointers.
  void keep_honest() { request.known.parts = std::min(request.known.parts, kMostParts); }
};

}  // namespace tilewise::fuzz
