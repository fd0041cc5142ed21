// Rotary embedding, appends and merges, in vectors. Float8 results are too rare for kernels of
// their own and go element by element.
#include "host/cache_ops.h"

#include <cstring>

#include "backends/cpu/passes.h"
#include "host/merging.h"

namespace tilewise::cpu {
namespace {

bool is_float8(const View& view) {
  return core::bytes_of(view.dtype) == 1;
}

Numbers numbers(const View& view, int64 element) {
  return {view.at(element), view.dtype};
}

// Copies a token's rows where their type does not change. Contiguous heads are copied as one row.
void copy(const TokenRows& token) {
  const View &from = token.from.view, &to = token.to.view;
  const bool is_one = from.stride.head == token.dim && to.stride.head == token.dim;
  const int64 rows = is_one ? 1 : token.heads,
              length = is_one ? token.heads * token.dim : token.dim;
  const auto bytes = static_cast<std::size_t>(length * core::bytes_of(from.dtype));
  for (int64 h = 0; h < rows; ++h)
    std::memcpy(to.at(token.to.head(h)), from.at(token.from.head(h)), bytes);
}

void rotate_pairs(const CacheKernels& kernels, const TokenRows& token) {
  const View &from = token.from.view, &to = token.to.view;
  const Rotation& rotation = *token.rotation;
  const auto angles = [&](const View& table) {
    return numbers(table, table.offset(0, 0, token.position, 0));
  };
  kernels.rotate({numbers(from, token.from.at), numbers(to, token.to.at),
                  from.stride.head * core::bytes_of(from.dtype),
                  to.stride.head * core::bytes_of(to.dtype), token.heads, angles(rotation.cosine),
                  angles(rotation.sine), rotation.pairs(), rotation.interleaved, token.inverse});
}

void move_rows(const CacheKernels& kernels, const TokenRows& token) {
  const View &from = token.from.view, &to = token.to.view;
  if (is_float8(to)) return move_elements(token);
  if (!token.rotation && from.dtype == to.dtype) return copy(token);
  if (token.rotation) rotate_pairs(kernels, token);
  const int64 rotated = 2 * token.pairs();
  if (rotated == token.dim) return;
  for (int64 h = 0; h < token.heads; ++h)
    kernels.convert(numbers(from, token.from.head(h) + rotated),
                    numbers(to, token.to.head(h) + rotated), token.dim - rotated);
}

// Columns of a row merged at a time. Their sums are on the stack, because a merge has no workspace.
constexpr int64 kMergedColumns = 256;

void merge_columns(const CacheKernels& kernels, const MergedRow& row, core::Range columns) {
  alignas(64) double sum[kMergedColumns] = {};
  for (int64 n = 0; n < row.p.parts; ++n) {
    const core::Row<double> part = row.part(n);
    if (part.sum == 0) continue;
    const View output = row.p.part_output(n);
    kernels.add_weighted(numbers(output, row.in(output) + columns.begin), row.weight(part),
                         columns.size(), sum);
  }
  const View& to = row.p.output;
  const int64 at = row.in(to) + columns.begin;
  if (is_float8(to)) return store_row(to, {at, columns.size()}, 1.0, sum);
  kernels.write(sum, numbers(to, at), columns.size());
}

}  // namespace

void rotary(const RotaryProblem& problem, const Isa& isa, const Parallel& parallel) {
  rotate(problem, parallel,
         [&](const TokenRows& token) { move_rows(isa.of_numbers.cache, token); });
}

void append(const AppendProblem& problem, const Isa& isa, const Parallel& parallel) {
  tilewise::append(problem, parallel,
                   [&](const TokenRows& token) { move_rows(isa.of_numbers.cache, token); });
}

void merge(const MergeProblem& problem, const Isa& isa, const Parallel& parallel) {
  merge_rows(problem, parallel, [&](const MergedRow& row) {
    const int64 dim = row.p.value_dim;
    for (int64 c = 0; c < dim; c += kMergedColumns)
      merge_columns(isa.of_numbers.cache, row, {c, core::smaller(dim, c + kMergedColumns)});
  });
}

}  // namespace tilewise::cpu
