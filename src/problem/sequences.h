// Checks of where sequences lie: one side's offsets, lengths and starts.
#pragma once

#include "problem/call.h"
#include "problem/place.h"

namespace tilewise {

// How a side and its fields are spelled in sentences.
struct SideNames {
  const char *side, *offsets, *used, *start, *max_length;
  const char* tensor;  // whose rows they are
};

inline constexpr SideNames kQuerySide{"queries",       "queries.offsets",    "queries.used",
                                      "queries.start", "queries.max_length", "query"};
inline constexpr SideNames kKeySide{"keys",       "keys.offsets",    "keys.used",
                                    "keys.start", "keys.max_length", "key"};
inline constexpr SideNames kRotarySide{"sequences",       "sequences.offsets",    "sequences.used",
                                       "sequences.start", "sequences.max_length", "input"};

inline const Layout& rows_layout(const Side& side) {
  return side.packed() ? kPackedRows : kDenseRows;
}

// First, from the descriptors alone: is the side packed? `side.longest` is the caller's bound, or
// 0.
Status read_sequences(Call& call, const tw_sequences* sequences, const SideNames& names,
                      Side& side);

// Sequences of a side that has no cache: packed ones by their offsets, dense ones by the tensor.
inline int64 batch_of(const Side& side, const View& tensor) {
  return side.packed() ? side.offsets.size.batch - 1 : tensor.size.batch;
}

// Then, when `side.rows` is known (packed: all tokens): sizes, lengths and the longest of them.
Status place_sequences(const SideNames& names, int64 batch, Side& side);

}  // namespace tilewise
