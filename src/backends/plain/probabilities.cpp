// Stores the unnormalised weights, for people who look at them: exp(score - the row's largest
// score), negative where dropout drops. It walks the keys twice: the first walk finds the largest
// score.
#include "backends/plain/passes.h"
#include "backends/plain/tasks.h"

namespace tilewise::plain {
namespace {

template <class T>
struct Scratch {
  Scratch(const Shape& shape, Arena& arena)
      : tile(shape, arena), largest(arena.take<T>(kTileRows)) {}

  ScoreTile<T> tile;
  T* largest;  // [row]
};

template <class T>
void store_weights(const Head<T>& head, Range rows, Range columns, Scratch<T>& scratch) {
  const View& to = head.problem.output;
  const bool drops = head.problem.dropout.decide.active();
  for (int64 i = 0; i < rows.size(); ++i) {
    T* weights = scratch.tile.scores + i * kTileColumns;
    for (int64 j = 0; j < columns.size(); ++j) {
      const bool hidden = weights[j] == -core::infinity<T>();
      weights[j] = core::exp2(weights[j] - core::shift(scratch.largest[i]));
      if (drops && !hidden && !head.keeps(rows.begin + i, columns.begin + j))
        weights[j] = -weights[j];
    }
    store_row(to, {to.offset(head.b, head.h, rows.begin + i, columns.begin), columns.size()}, T(1),
              weights);
  }
}

template <class T>
void store_zeros(const Head<T>& head, Range rows) {
  const View& to = head.problem.output;
  for (int64 i = rows.begin; i < rows.end; ++i)
    for (int64 j = 0; j < head.keys.length; ++j) store(to, to.offset(head.b, head.h, i, j), T(0));
}

template <class T>
void run_tile(const Head<T>& head, Range rows, Scratch<T>& scratch) {
  for (int64 i = 0; i < rows.size(); ++i) scratch.largest[i] = -core::infinity<T>();
  scratch.tile.load_query(head, rows);
  const auto score = [&](Range columns) {
    scratch.tile.load_key(head, columns);
    scratch.tile.score(head, rows, columns);
  };
  head.for_each_key_tile(rows, kTileColumns, [&](Range columns) {
    score(columns);
    for (int64 i = 0; i < rows.size(); ++i)
      for (int64 j = 0; j < columns.size(); ++j)
        scratch.largest[i] =
            core::running_max(scratch.largest[i], scratch.tile.scores[i * kTileColumns + j]);
  });
  store_zeros(head, rows);
  head.for_each_key_tile(rows, kTileColumns, [&](Range columns) {
    score(columns);
    store_weights(head, rows, columns, scratch);
  });
}

}  // namespace

template <class T>
int64 probabilities_workspace(const Problem& problem, int workers) {
  return query_pass_workspace<Scratch<T>>(problem, workers);
}

template <class T>
void probabilities(const Problem& problem, const Resources& resources) {
  for_each_query_tile<T, Scratch<T>>(problem, resources, run_tile<T>);
}

template int64 probabilities_workspace<float>(const Problem&, int);
template int64 probabilities_workspace<double>(const Problem&, int);
template void probabilities<float>(const Problem&, const Resources&);
template void probabilities<double>(const Problem&, const Resources&);

}  // namespace tilewise::plain
