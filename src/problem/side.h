// Where the rows of one side of attention lie: the queries, or the keys. Dense, packed, padded,
// paged and indexed layouts differ here and nowhere else. What its tables say is read by
// problem/place.h.
#pragma once

#include "problem/view.h"

namespace tilewise {

// Sequence b on one side: rows first .. first + length - 1 of batch row `batch`.
struct Place {
  int64 sequence = 0, batch = 0, first = 0, length = 0;
};

struct Side {
  View offsets, used, start;  // indexed by batch; absent ones have no dtype
  View batch_index;           // by batch: which row of the batch holds the sequence
  View page_table;            // by batch and column
  int64 page_size = 0;        // of paged sides
  int64 rows = 0;             // a dense sequence's, or all that its page table reaches
  int64 longest = 0;          // no sequence is longer

  bool packed() const { return static_cast<bool>(offsets); }
  bool paged() const { return static_cast<bool>(page_table); }
  // Every sequence has all rows: whatever holds for one of them holds for all, however many.
  bool uniform() const { return !offsets && !used && !start; }
  // Of `batch` sequences, how many to look at to have seen all that there is.
  int64 unlike(int64 batch) const { return uniform() ? core::smaller(batch, int64{1}) : batch; }
};

}  // namespace tilewise
