// Checks of caches: page tables and rows picked by an index.
#pragma once

#include "problem/sequences.h"

namespace tilewise {

// Reads the cache's page table or batch index into `side`, and refuses a call that has both.
Status read_cache(Call& call, const tw_cache* cache, Side& side);

inline const Layout& cache_layout(const Side& side) {
  return side.paged() ? kPages : rows_layout(side);
}

// Sets the side's rows and page size, and `batch`, from the shape of the key or value tensor.
Status size_cache(const View& tensor, const char* name, Side& side, int64& batch);

// Returns the rows of sequence b that a call touches.
using RowsOf = core::Range (*)(const void* context, int64 b);

struct Touched {
  const Side& side;
  int64 batch, pages;  // sequences; pages or rows of the tensor
  RowsOf rows_of;
  const void* context;

  core::Range rows(int64 b) const { return rows_of(context, b); }
};

// Refuses an entry that names no page or row of the tensor. Of a page table it checks the entries
// that touched rows need, of a batch index all entries.
Status check_entries(const Touched& touched);

// Refuses a page or row that is touched twice. `wanted_for` ends the sentence and says why.
Status check_unshared(const Touched& touched, const char* wanted_for);

}  // namespace tilewise
