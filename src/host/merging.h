// Merging parts of the keys, down to one row at a time: each part's output counts by its weight in
// the sum of exponentials. How rows are added up is the backend's.
#pragma once

#include "core/softmax.h"
#include "host/element.h"
#include "parallel/parallel.h"
#include "problem/problem.h"

namespace tilewise {

// Row i of head h of sequence b, and the sum over all parts.
struct MergedRow {
  const MergeProblem& p;
  int64 b, h, i;
  core::Row<double> total;

  int64 in(const View& view) const { return view.offset(b, h, i, 0); }

  core::Row<double> part(int64 n) const {
    const View lse = p.part_lse(n);
    return core::row_of(load<double>(lse, in(lse)));
  }

  // Its part of the sum of exponentials. A part with a sum of 0 saw nothing: its output is not to
  // be read.
  double weight(const core::Row<double>& of) const {
    return of.sum * core::exp2(of.max - core::shift(total.max)) / total.sum;
  }
};

// Calls write(row) for every row, which writes its output; writes the lse. The heads of a token are
// one task, for they lie together.
template <class Write>
void merge_rows(const MergeProblem& p, const Parallel& parallel, const Write& write) {
  const auto merge_row = [&](MergedRow row) {
    core::Row<double>& total = row.total;
    if (p.sinks) total = core::row_of(load<double>(p.sinks, p.sinks.offset(0, row.h, 0, 0)));
    for (int64 n = 0; n < p.parts; ++n) total = core::merge(total, row.part(n));
    write(row);
    if (p.lse) store(p.lse, row.in(p.lse), core::lse(total));
  };
  parallel(p.batch * p.tokens, [&](int64 task, int32) {
    for (int64 h = 0; h < p.heads; ++h) merge_row({p, task / p.tokens, h, task % p.tokens, {}});
  });
}

}  // namespace tilewise
