// tw_merge.
#include <cstdio>

#include "problem/call.h"

namespace tilewise {
namespace {

Status check_result(Call& call, const tw_merge_request& request, MergeProblem& problem) {
  const bool packed = request.output.rank == kPackedRows.rank;
  const Form output{"output", packed ? kPackedRows : kDenseRows, Types::kFloat};
  const Form lse{"lse", packed ? kPackedLse : kDenseLse, Types::kFloat32Or64};
  const Form sinks{"sinks", kHeads, Types::kFloat32Or64};
  TW_TRY(call.output(request.output, output, problem.output, Need::kRequired));
  const Axes& size = problem.output.size;
  if (size.head < 1 || size.column < 1) {
    return invalid("output has %lld heads of dim %lld: each must be at least 1.", size.head,
                   size.column);
  }
  TW_TRY(call.output(request.lse, lse, problem.lse));
  if (problem.lse) {
    TW_TRY(check_shape(problem.lse, lse, {.size = {size.batch, size.head, size.row, 1}}));
  }
  TW_TRY(call.input(request.sinks, sinks, problem.sinks));
  if (problem.sinks) TW_TRY(check_shape(problem.sinks, sinks, {.size = {1, size.head, 1, 1}}));
  problem.batch = size.batch;
  problem.heads = size.head;
  problem.value_dim = size.column;
  problem.tokens = size.row;
  return call.outputs_apart();
}

// Checks one part. `call` is a copy for each part, so that a call needs no list of all parts.
Status check_part(Call call, int64 part, bool packed, const MergeProblem& problem) {
  char output_name[40], lse_name[40];
  std::snprintf(output_name, sizeof output_name, "outputs[%lld]", part);
  std::snprintf(lse_name, sizeof lse_name, "lses[%lld]", part);
  const Form output{output_name, packed ? kPackedRows : kDenseRows, Types::kFloat};
  const Form lse{lse_name, packed ? kPackedLse : kDenseLse, Types::kFloat32Or64};
  View part_output, part_lse;
  TW_TRY(call.input(problem.outputs[part], output, part_output, Need::kRequired));
  TW_TRY(check_shape(part_output, output, {.size = problem.output.size}));
  TW_TRY(call.input(problem.lses[part], lse, part_lse, Need::kRequired));
  const Axes& size = problem.output.size;
  TW_TRY(check_shape(part_lse, lse, {.size = {size.batch, size.head, size.row, 1}}));
  return call.outputs_apart();
}

}  // namespace

Status check(const tw_merge_request* request, Call& call, MergeProblem& problem) {
  problem = {};
  if (!request) return invalid("request is null: give a tw_merge_request.");
  Given<tw_merge_request> given;
  TW_TRY(given.read(request, "request", "tw_merge_request"));
  if (given->parts < 1) {
    return invalid("parts is %lld: there must be at least 1.", int64{given->parts});
  }
  if (!given->outputs || !given->lses) {
    return invalid(
        "outputs or lses is null: each must point to as many tensors as there are "
        "parts.");
  }
  problem.parts = given->parts;
  problem.outputs = given->outputs;
  problem.lses = given->lses;
  TW_TRY(check_result(call, *given, problem));
  const bool packed = given->output.rank == kPackedRows.rank;
  for (int64 part = 0; part < problem.parts; ++part)
    TW_TRY(check_part(call, part, packed, problem));
  return {};
}

}  // namespace tilewise
