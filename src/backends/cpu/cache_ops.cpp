// Rotary embedding, appends and merges, in vectors. Float8 results are too rare for kernels of
// their own and go element by element.
#include <cstring>

#include "backends/cpu/passes.h"
#include "host/merging.h"
#include "host/turns.h"

namespace tilewise::cpu {
namespace {

bool is_float8(const View& view) {
  return core::bytes_of(view.dtype) == 1;
}

Numbers numbers(const View& view, int64 element) {
  return {view.at(element), view.dtype};
}

// Without a change of type there is nothing to compute. Heads that lie side by side are one row.
void copy(const Turn& turn) {
  const View &from = turn.from.view, &to = turn.to.view;
  const bool is_one = from.stride.head == turn.dim && to.stride.head == turn.dim;
  const int64 rows = is_one ? 1 : turn.heads, length = is_one ? turn.heads * turn.dim : turn.dim;
  const auto bytes = static_cast<std::size_t>(length * core::bytes_of(from.dtype));
  for (int64 h = 0; h < rows; ++h)
    std::memcpy(to.at(turn.to.head(h)), from.at(turn.from.head(h)), bytes);
}

void turn_pairs(const RowKernels& kernels, const Turn& turn) {
  const View &from = turn.from.view, &to = turn.to.view;
  const Rotation& rotation = *turn.rotation;
  const auto angles = [&](const View& table) {
    return numbers(table, table.offset(0, 0, turn.position, 0));
  };
  kernels.turn({numbers(from, turn.from.at), numbers(to, turn.to.at),
                from.stride.head * core::bytes_of(from.dtype),
                to.stride.head * core::bytes_of(to.dtype), turn.heads, angles(rotation.cosine),
                angles(rotation.sine), rotation.pairs(), rotation.interleaved, turn.inverse});
}

void turn_rows(const RowKernels& kernels, const Turn& turn) {
  const View &from = turn.from.view, &to = turn.to.view;
  if (is_float8(to)) return turn_elements(turn);
  if (!turn.rotation && from.dtype == to.dtype) return copy(turn);
  if (turn.rotation) turn_pairs(kernels, turn);
  const int64 turned = 2 * turn.pairs();
  if (turned == turn.dim) return;
  for (int64 h = 0; h < turn.heads; ++h)
    kernels.convert(numbers(from, turn.from.head(h) + turned),
                    numbers(to, turn.to.head(h) + turned), turn.dim - turned);
}

// Columns of a row that are merged at a time, on the stack: a merge has no workspace.
constexpr int64 kMergedColumns = 256;

void merge_columns(const RowKernels& kernels, const MergedRow& row, core::Range columns) {
  alignas(64) double sum[kMergedColumns] = {};
  for (int64 n = 0; n < row.p.parts; ++n) {
    const core::Row<double> part = row.part(n);
    if (part.sum == 0) continue;
    const View output = row.p.part_output(n);
    kernels.add_share(numbers(output, row.in(output) + columns.begin), row.share(part),
                      columns.size(), sum);
  }
  const View& to = row.p.output;
  const int64 at = row.in(to) + columns.begin;
  if (is_float8(to)) return store_row(to, {at, columns.size()}, 1.0, sum);
  kernels.write(sum, numbers(to, at), columns.size());
}

}  // namespace

void rotary(const RotaryProblem& problem, const Isa& isa, const Parallel& parallel) {
  rotate(problem, parallel, [&](const Turn& turn) { turn_rows(isa.of_numbers.rows, turn); });
}

void append(const AppendProblem& problem, const Isa& isa, const Parallel& parallel) {
  tilewise::append(problem, parallel,
                   [&](const Turn& turn) { turn_rows(isa.of_numbers.rows, turn); });
}

void merge(const MergeProblem& problem, const Isa& isa, const Parallel& parallel) {
  merge_rows(problem, parallel, [&](const MergedRow& row) {
    const int64 dim = row.p.value_dim;
    for (int64 c = 0; c < dim; c += kMergedColumns)
      merge_columns(isa.of_numbers.rows, row, {c, core::smaller(dim, c + kMergedColumns)});
  });
}

}  // namespace tilewise::cpu
