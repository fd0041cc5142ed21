// Parts of the keys into the whole: each part's output counts by its share of the sum of
// exponentials.
#include "backends/plain/passes.h"
#include "backends/plain/rows.h"
#include "core/softmax.h"
#include "core/wound.h"

namespace tilewise::plain {
namespace {

// Columns of a row that are merged at a time, on the stack: a merge has no workspace.
constexpr int64 kChunk = 64;

struct RowAt {
  int64 b, h, i;

  int64 in(const View& view) const { return view.offset(b, h, i, 0); }
};

core::Row<double> part_row(const MergeProblem& p, int64 part, RowAt at) {
  const View lse = p.part_lse(part);
  return core::row_of(load<double>(lse, at.in(lse)));
}

void merge_chunk(const MergeProblem& p, RowAt at, core::Row<double> total, int64 begin) {
  double sum[kChunk] = {};
  const int64 count = core::smaller(kChunk, p.value_dim - begin);
  for (int64 n = 0; n < p.parts; ++n) {
    const core::Row<double> row = part_row(p, n, at);
    if (row.sum == 0) continue;  // saw nothing: whatever its output holds
    double share = row.sum * core::exp2(row.max - core::shift(total.max)) / total.sum;
    if (wounded(core::Wound::kMergeUnweighted)) share = 1 / static_cast<double>(p.parts);
    const View output = p.part_output(n);
    for (int64 c = 0; c < count; ++c)
      sum[c] += share * load<double>(output, at.in(output) + begin + c);
  }
  store_row(p.output, {at.in(p.output) + begin, count}, 1.0, sum);
}

}  // namespace

void merge(const MergeProblem& problem, const Parallel& parallel) {
  const MergeProblem& p = problem;
  parallel(p.batch * p.heads * p.tokens, [&](int64 task, int32) {
    const RowAt at{task / p.tokens / p.heads, task / p.tokens % p.heads, task % p.tokens};
    core::Row<double> total;
    if (p.sinks) total = core::row_of(load<double>(p.sinks, p.sinks.offset(0, at.h, 0, 0)));
    if (wounded(core::Wound::kSinkPerPart)) total.sum *= static_cast<double>(p.parts);
    for (int64 n = 0; n < p.parts; ++n) total = core::merge(total, part_row(p, n, at));
    for (int64 c = 0; c < p.value_dim; c += kChunk) merge_chunk(p, at, total, c);
    if (wounded(core::Wound::kMergeFirstLse) && p.parts > 0) total = part_row(p, 0, at);
    if (p.lse) store(p.lse, at.in(p.lse), core::lse(total));
  });
}

}  // namespace tilewise::plain
