// Backward's own tensors: gradients that arrive and gradients that are wanted.
#include "problem/features.h"

namespace tilewise {
namespace {

struct Pair {
  const char *name, *of;  // a gradient, and the tensor that it is the gradient of
  const tw_tensor& given;
  const View& like;
  const Layout& layout;
};

Wanted same_size(const View& view) {
  return {.size = view.size};
}

Status check_gradient(Call& call, const Pair& pair, View& view) {
  const Form form{pair.name, pair.layout, Types::kFloat};
  TW_TRY(call.output(pair.given, form, view));
  if (!view) return {};
  if (!pair.like) {
    return invalid("%s is wanted but %s is absent: give both or neither.", pair.name, pair.of);
  }
  return check_shape(view, form, same_size(pair.like));
}

// Checks the gradients that arrive: of output, and optionally of lse.
Status check_arriving(Call& call, const tw_gradients& given, Problem& problem) {
  Gradients& gradients = problem.gradients;
  const bool packed = problem.queries.packed();
  const Form output{"gradients.output", packed ? kPackedRows : kDenseRows, Types::kFloat};
  TW_TRY(call.input(given.output, output, gradients.output, Need::kRequired));
  TW_TRY(check_shape(gradients.output, output, same_size(problem.output)));
  const Form lse{"gradients.lse", packed ? kPackedLse : kDenseLse, wide_types(problem)};
  TW_TRY(call.input(given.lse, lse, gradients.lse));
  if (gradients.lse) TW_TRY(check_shape(gradients.lse, lse, same_size(problem.lse)));
  return {};
}

}  // namespace

Status check_gradients(Call& call, const tw_request& request, Problem& problem) {
  const tw_gradients* gradients = request.gradients;
  if (problem.operation != TW_BACKWARD) {
    if (!gradients) return {};
    return invalid("gradients is given but only tw_backward computes them: leave it null here.");
  }
  if (!gradients) return invalid("gradients is null: tw_backward needs it.");
  Given<tw_gradients> copy;
  TW_TRY(copy.read(gradients, "gradients", "tw_gradients"));
  const tw_gradients& given = *copy;
  TW_TRY(check_arriving(call, given, problem));

  // Gradients of query, key, value, ... have the layouts of those tensors.
  const Layout& rows = problem.queries.packed() ? kPackedRows : kDenseRows;
  const Layout& keys = problem.keys.packed()  ? kPackedRows
                       : problem.keys.paged() ? kPages
                                              : kDenseRows;
  const int32 slopes_rank =
      request.options && request.options->scores ? request.options->scores->slopes.rank : 1;
  const Layout& slopes = slopes_rank == kBatchHeads.rank ? kBatchHeads : kHeads;
  const Scores& scores = problem.scores;
  const Pair pairs[] = {{"gradients.query", "query", given.query, problem.query, rows},
                        {"gradients.key", "key", given.key, problem.key, keys},
                        {"gradients.value", "value", given.value, problem.value, keys},
                        {"gradients.bias", "scores.bias", given.bias, scores.bias, kScorePairs},
                        {"gradients.slopes", "scores.slopes", given.slopes, scores.slopes, slopes},
                        {"gradients.sinks", "scores.sinks", given.sinks, scores.sinks, kHeads}};
  Gradients& out = problem.gradients;
  View* const views[] = {&out.query, &out.key, &out.value, &out.bias, &out.slopes, &out.sinks};
  bool any = false;
  for (int k = 0; k < 6; ++k) {
    TW_TRY(check_gradient(call, pairs[k], *views[k]));
    any = any || *views[k];
  }
  if (any) return {};
  return invalid(
      "gradients wants nothing: give at least one of query, key, value, bias, slopes "
      "and sinks.");
}

}  // namespace tilewise
