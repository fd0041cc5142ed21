// Merges results over parts of the keys into the result over all keys.
#include "backends/plain/passes.h"
#include "host/merging.h"

namespace tilewise::plain {
namespace {

// Columns of a row merged at a time. Their sums are on the stack, because a merge has no workspace.
constexpr int64 kChunk = 64;

void merge_chunk(const MergedRow& row, int64 begin) {
  const MergeProblem& p = row.p;
  double sum[kChunk] = {};
  const int64 count = core::smaller(kChunk, p.value_dim - begin);
  for (int64 n = 0; n < p.parts; ++n) {
    const core::Row<double> part = row.part(n);
    if (part.sum == 0) continue;
    const double weight = row.weight(part);
    const View output = p.part_output(n);
    for (int64 c = 0; c < count; ++c)
      sum[c] += weight * load<double>(output, row.in(output) + begin + c);
  }
  store_row(p.output, {row.in(p.output) + begin, count}, 1.0, sum);
}

}  // namespace

void merge(const MergeProblem& problem, const Parallel& parallel) {
  merge_rows(problem, parallel, [](const MergedRow& row) {
    for (int64 c = 0; c < row.p.value_dim; c += kChunk) merge_chunk(row, c);
  });
}

}  // namespace tilewise::plain
