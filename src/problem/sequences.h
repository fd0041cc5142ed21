// Checks of where sequences lie: one side's offsets, lengths and starts.
#pragma once

#include "problem/call.h"
#include "problem/place.h"

namespace tilewise {

// The names of a side and its fields in sentences.
struct SideNames {
  const char *side, *offsets, *used, *start, *max_length;
  const char* tensor;  // whose rows the sequences are
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

// First step: reads the side's tables and finds out whether it is packed. Sets `side.longest` to
// the caller's bound, or 0.
Status read_sequences(Call& call, const tw_sequences* sequences, const SideNames& names,
                      Side& side);

// The number of sequences of a side without a cache: by its offsets if packed, else by the tensor.
inline int64 batch_of(const Side& side, const View& tensor) {
  return side.packed() ? side.offsets.size.batch - 1 : tensor.size.batch;
}

// Second step, when `side.rows` is known (packed: all tokens): checks the tables' sizes and
// lengths, and sets `side.longest`.
Status place_sequences(const SideNames& names, int64 batch, Side& side);

}  // namespace tilewise
