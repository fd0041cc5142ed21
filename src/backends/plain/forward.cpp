// The tiled algorithm at its plainest: for a tile of queries, walk the keys tile by tile; score,
// mask, raise the running row, accumulate; divide at the end.
#include "backends/plain/passes.h"
#include "backends/plain/tasks.h"

namespace tilewise::plain {
namespace {

template <class T>
struct Scratch {
  Scratch(const Shape& shape, Arena& arena)
      : tile(shape, arena),
        value(arena.take<T>(kTileColumns * shape.value_dim)),
        output(arena.take<T>(kTileRows * shape.value_dim)),
        row(arena.take<core::Row<T>>(kTileRows)) {}

  ScoreTile<T> tile;
  T* value;           // [column][value_dim]
  T* output;          // [row][value_dim], unnormalised
  core::Row<T>* row;  // [row]
};

template <class T>
void load_value(const Head<T>& head, Range columns, T* value) {
  const Problem& p = head.problem;
  const T factor = head.factor(p.scaling.value);
  for (int64 j = 0; j < columns.size(); ++j)
    load_row(
        p.value,
        {row_of(p.keys, p.value, head.keys, head.key_head, columns.begin + j), p.shape.value_dim},
        factor, value + j * p.shape.value_dim);
}

// The online softmax's step: raises each row's max, makes weights relative to it, and rescales the
// output so far.
template <class T>
void raise(Range rows, Range columns, int64 value_dim, Scratch<T>& scratch) {
  for (int64 i = 0; i < rows.size(); ++i) {
    T* scores = scratch.tile.scores + i * kTileColumns;
    T largest = -core::infinity<T>();
    for (int64 j = 0; j < columns.size(); ++j) largest = core::running_max(largest, scores[j]);
    const T factor = core::raise(scratch.row[i], largest);
    for (int64 c = 0; c < value_dim; ++c) scratch.output[i * value_dim + c] *= factor;
    T sum = 0;
    for (int64 j = 0; j < columns.size(); ++j) {
      scores[j] = core::exp2(scores[j] - core::shift(scratch.row[i].max));
      sum += scores[j];
    }
    scratch.row[i].sum += sum;
  }
}

template <class T>
void drop(const Head<T>& head, Range rows, Range columns, Scratch<T>& scratch) {
  if (!head.problem.dropout.decide.active()) return;
  const T scale = static_cast<T>(head.problem.dropout.decide.scale());
  for (int64 i = 0; i < rows.size(); ++i) {
    for (int64 j = 0; j < columns.size(); ++j) {
      T& weight = scratch.tile.scores[i * kTileColumns + j];
      const bool keeps = head.keeps(rows.begin + i, columns.begin + j);
      weight = keeps ? weight * scale : T(0);
    }
  }
}

template <class T>
void finish(const Head<T>& head, Range rows, const Scratch<T>& scratch) {
  const Problem& p = head.problem;
  const int64 dim = p.shape.value_dim;
  const T sink = head.sink();
  for (int64 i = 0; i < rows.size(); ++i) {
    const core::Row<T> seen = scratch.row[i];
    const core::Row<T> row = merge(seen, core::row_of(sink));
    // A row with neither keys nor a sink has sum 0, and output 0.
    const T factor = row.sum == 0 ? T(0) : core::exp2(seen.max - core::shift(row.max)) / row.sum;
    const int64 to = row_of(p.queries, p.output, head.queries, head.h, rows.begin + i);
    store_row(p.output, {to, dim}, factor, scratch.output + i * dim);
    if (!p.lse) continue;
    // If the row saw no key, lse is the sink, to the bit.
    const T lse = seen.sum == 0 ? sink : core::lse(row);
    store(p.lse, row_of(p.queries, p.lse, head.queries, head.h, rows.begin + i), lse);
  }
}

template <class T>
void run_tile(const Head<T>& head, Range rows, Scratch<T>& scratch) {
  const int64 dim = head.problem.shape.value_dim;
  for (int64 i = 0; i < rows.size(); ++i) scratch.row[i] = {};
  for (int64 n = 0; n < rows.size() * dim; ++n) scratch.output[n] = 0;

  scratch.tile.load_query(head, rows);
  head.for_each_key_tile(rows, kTileColumns, [&](Range columns) {
    scratch.tile.load_key(head, columns);
    load_value(head, columns, scratch.value);
    scratch.tile.score(head, rows, columns);
    raise(rows, columns, dim, scratch);
    drop(head, rows, columns, scratch);
    add_product<T>({rows.size(), columns.size(), dim, dim}, {scratch.tile.scores, kTileColumns, 1},
                   scratch.value, scratch.output, scratch.tile.apart);
  });
  finish(head, rows, scratch);
}

}  // namespace

template <class T>
int64 forward_workspace(const Problem& problem, int workers) {
  return query_pass_workspace<Scratch<T>>(problem, workers);
}

template <class T>
void forward(const Problem& problem, const Resources& resources) {
  for_each_query_tile<T, Scratch<T>>(problem, resources, run_tile<T>);
}

template int64 forward_workspace<float>(const Problem&, int);
template int64 forward_workspace<double>(const Problem&, int);
template void forward<float>(const Problem&, const Resources&);
template void forward<double>(const Problem&, const Resources&);

}  // namespace tilewise::plain
