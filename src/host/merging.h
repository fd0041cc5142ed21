// The walk of merging results of parts of the keys, row by row. The weight of a part's output is
// the part's fraction of the sum of exponentials. The backend adds the rows.
#pragma once

#include "core/softmax.h"
#include "host/element.h"
#include "parallel/parallel.h"
#include "problem/problem.h"

namespace tilewise {

// Row i of head h of sequence b, and the softmax statistics of all parts together.
struct MergedRow {
  const MergeProblem& p;
  int64 b, h, i;
  core::Row<double> total;

  int64 in(const View& view) const { return view.offset(b, h, i, 0); }

  core::Row<double> part(int64 n) const {
    const View lse = p.part_lse(n);
    return core::row_of(load<double>(lse, in(lse)));
  }

  // The part's fraction of the sum of exponentials. A part with sum 0 saw no key: do not read its
  // output.
  double weight(const core::Row<double>& of) const {
    return of.sum * core::exp2(of.max - core::shift(total.max)) / total.sum;
  }
};

// For every row, calls write(row), which writes the row's output, and stores the row's lse. A task
// has all heads of a token, because their rows lie together.
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
