// Where the rows of the queries or the keys lie: one struct for dense, packed, padded, paged and
// indexed layouts. problem/place.h finds rows by it.
#pragma once

#include "problem/view.h"

namespace tilewise {

// Where sequence b lies: rows first .. first + length - 1 of batch row `batch`.
struct Place {
  int64 sequence = 0, batch = 0, first = 0, length = 0;
};

struct Side {
  View offsets, used, start;  // indexed by batch; absent ones have no dtype
  View batch_index;           // by batch: which row of the batch holds the sequence
  View page_table;            // by batch and column
  int64 page_size = 0;        // of paged sides
  int64 rows = 0;             // of a dense sequence; all tokens; all that a page table can reach
  int64 longest = 0;          // upper bound of all lengths

  bool packed() const { return static_cast<bool>(offsets); }
  bool paged() const { return static_cast<bool>(page_table); }
  // Whether all sequences have all rows, so that what holds for one sequence holds for each.
  bool uniform() const { return !offsets && !used && !start; }
  // How many of `batch` sequences have to be looked at to know them all.
  int64 unlike(int64 batch) const { return uniform() ? core::smaller(batch, int64{1}) : batch; }
};

}  // namespace tilewise
