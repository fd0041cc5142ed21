// Checks of caches: page tables and rows picked by an index.
#pragma once

#include "problem/sequences.h"

namespace tilewise {

// From the descriptors alone: is the side paged, or indexed?
Status read_cache(Call& call, const tw_cache* cache, Side& side);

inline const Layout& cache_layout(const Side& side) {
  return side.paged() ? kPages : rows_layout(side);
}

// Takes the rows, and page size of the side from its tensor, and its batch.
Status size_cache(const View& tensor, const char* name, Side& side, int64& batch);

// The rows of each sequence that a call touches.
using RowsOf = core::Range (*)(const void* context, int64 b);

struct Touched {
  const Side& side;
  int64 batch, pages;  // sequences; pages or rows of the tensor
  RowsOf rows_of;
  const void* context;

  core::Range rows(int64 b) const { return rows_of(context, b); }
};

// Every table entry that is touched names a page or row of the tensor.
Status check_entries(const Touched& touched);

// No page or row is touched twice. `wanted_for` ends the sentence: why that matters.
Status check_unshared(const Touched& touched, const char* wanted_for);

}  // namespace tilewise
