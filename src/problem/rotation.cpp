#include "problem/rotation.h"

namespace tilewise {

Status check_rotation(Call& call, const tw_rotation* rotation, Rotation& tables) {
  Given<tw_rotation> given;
  TW_TRY(given.read(rotation, "rotation", "tw_rotation"));
  if (!rotation) return {};
  const Form cosine{"rotation.cosine", kPositions, Types::kFloat};
  const Form sine{"rotation.sine", kPositions, Types::kFloat};
  TW_TRY(call.input(given->cosine, cosine, tables.cosine, Need::kRequired));
  TW_TRY(call.input(given->sine, sine, tables.sine, Need::kRequired));
  TW_TRY(check_shape(tables.sine, sine, {.size = tables.cosine.size}));
  TW_TRY(check_flag(given->interleaved, "rotation.interleaved"));
  tables.interleaved = given->interleaved != 0;
  if (tables.pairs() < 1) {
    return invalid("rotation.cosine has 0 columns: give at least 1, or no rotation.");
  }
  return {};
}

Status check_rotated(Call& call, const RotaryTensors& tensors, const RotaryNames& names,
                     RotaryProblem& problem) {
  TW_TRY(read_sequences(call, tensors.sequences, names.side, problem.side));
  const Layout& layout = rows_layout(problem.side);
  const Form input{names.input, layout, Types::kFloat}, output{names.output, layout, Types::kFloat};
  TW_TRY(call.input(tensors.input, input, problem.input, Need::kRequired));
  TW_TRY(call.output(tensors.output, output, problem.output, Need::kRequired));
  TW_TRY(check_shape(problem.output, output, {.size = problem.input.size}));
  problem.batch = batch_of(problem.side, problem.input);
  problem.heads = problem.input.size.head;
  problem.dim = problem.input.size.column;
  problem.side.rows = problem.input.size.row;
  if (problem.heads < 1) return invalid("%s has 0 heads: at least 1 is needed.", names.input);
  return place_sequences(names.side, problem.batch, problem.side);
}

Status check_positions(const RotaryProblem& problem, const RotaryNames& names) {
  const int64 pairs = problem.rotation.pairs(), positions = problem.rotation.cosine.size.row;
  if (2 * pairs > problem.dim) {
    return invalid(
        "rotation.cosine has %lld columns, which rotate %lld elements, but %s has dim "
        "%lld: it must be at least that.",
        pairs, 2 * pairs, names.input, problem.dim);
  }
  if (!readable(problem.positions) || !has_lengths(problem.side)) return {};
  const int64 unlike = problem.positions ? problem.batch : problem.side.unlike(problem.batch);
  for (int64 b = 0; b < unlike; ++b) {
    const int64 first =
        problem.positions ? index_at(problem.positions, b * problem.positions.stride.batch) : 0;
    if (first < 0 || first >= kFarthest) {
      return invalid("%s[%lld] is %lld: it must be from 0 to below 2^40.", names.positions, b,
                     first);
    }
    const int64 rows = place_of(problem.side, b).length;
    const int64 end = rows == 0 ? 0 : first + (problem.fixed ? 1 : rows);
    if (end > positions) {
      return invalid(
          "rotation.cosine has %lld positions but %s of sequence %lld reaches position "
          "%lld: give longer tables.",
          positions, names.input, b, end - 1);
    }
  }
  return {};
}

}  // namespace tilewise
