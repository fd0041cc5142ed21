// Where the rows of one side of attention lie: the queries, or the keys. Dense, packed, padded,
// paged and indexed layouts differ here and nowhere else.
#pragma once

#include "core/wound.h"
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

  Place place(int64 b) const {
    const int64 origin = packed() ? index_at(offsets, b * offsets.stride.batch) : 0;
    const bool skips = start && !wounded(core::Wound::kStartIgnored);
    const int64 skipped = skips ? index_at(start, b * start.stride.batch) : 0;
    int64 end = packed() ? index_at(offsets, (b + 1) * offsets.stride.batch) - origin : rows;
    if (used && !wounded(core::Wound::kUsedIgnored)) end = index_at(used, b * used.stride.batch);
    int64 batch = packed() ? 0 : b;
    const int64 picked = wounded(core::Wound::kBatchIndexOfFirst) ? 0 : b;
    if (batch_index) batch = index_at(batch_index, picked * batch_index.stride.batch);
    return {b, batch, origin + skipped, end - skipped};
  }

  // The element of `view` at which row i of head h begins.
  int64 row(const View& view, const Place& place, int64 h, int64 i) const {
    const int64 at = place.first + i;
    if (!paged()) return view.offset(place.batch, h, at, 0);
    const int64 stale = i > 0 && wounded(core::Wound::kStalePage) ? 1 : 0;
    const int64 owner = wounded(core::Wound::kPageTableOfFirst) ? 0 : place.sequence;
    const int64 page =
        index_at(page_table, page_table.offset(owner, 0, 0, (at - stale) / page_size));
    return view.offset(page, h, at % page_size, 0);
  }
};

}  // namespace tilewise
