// tw_rotary.
#include "problem/rotation.h"

namespace tilewise {

Status check(const tw_rotary_request* request, Call& call, RotaryProblem& problem) {
  static constexpr RotaryNames kNames{kRotarySide, "input", "output", "positions"};
  problem = {};
  if (!request) return invalid("request is null: give a tw_rotary_request.");
  Given<tw_rotary_request> given;
  TW_TRY(given.read(request, "request", "tw_rotary_request"));
  if (!given->rotation) return invalid("rotation is null: tw_rotary needs its tables.");
  TW_TRY(check_rotation(call, given->rotation, problem.rotation));
  TW_TRY(check_rotated(call, {given->input, given->output, given->sequences}, kNames, problem));
  const Form positions{"positions", kBatch, Types::kIndex};
  TW_TRY(call.input(given->positions, positions, problem.positions));
  if (problem.positions) {
    TW_TRY(check_shape(problem.positions, positions, {.size = {problem.batch, 1, 1, 1}}));
  }
  TW_TRY(check_flag(given->fixed, "fixed"));
  TW_TRY(check_flag(given->inverse, "inverse"));
  problem.fixed = given->fixed != 0;
  problem.inverse = given->inverse != 0;
  TW_TRY(check_positions(problem, kNames));
  return call.outputs_apart();
}

}  // namespace tilewise
