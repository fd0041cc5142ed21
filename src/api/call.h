// What every function of the C face shares: read the execution, check, plan, return the sentence.
#pragma once

#include "parallel/arithmetic.h"
#include "plan/backend.h"
#include "problem/call.h"

namespace tilewise {

struct Execution {
  Machine machine;
  Parallel parallel{1};
  std::byte* workspace = nullptr;
  int64 workspace_bytes = 0;
  void* stream = nullptr;
  core::uint32* error = nullptr;
  const char* backend = nullptr;
  Buffers buffers;

  Resources resources() const { return {parallel, workspace, stream, error}; }
};

Status check(const tw_execution* from, Execution& execution);

// A checked and planned call, with what it runs with.
template <class Checked>
struct Prepared {
  Checked problem;
  Plan plan;
  Execution execution;
};

// Checks that the workspace, if the plan needs one, is present and large enough, lies on the device
// where the call runs and overlaps no tensor; and checks the error word. `asker` names the function
// that tells the workspace's size.
Status check_memory(const Call& call, const Plan& plan, const Execution& execution,
                    const char* asker);

// The function of the C face that tells the workspace's size for this kind of call.
template <class Checked>
inline constexpr const char* kAsker = "tw_workspace";
template <>
inline constexpr const char* kAsker<RotaryProblem> = "tw_workspace_rotary";
template <>
inline constexpr const char* kAsker<AppendProblem> = "tw_workspace_append";

// After a run: fails if the embedder's hook broke a rule that Breach names.
Status check_hook(const Parallel& parallel);

// Plans the call with the backend that the execution names, or else the environment.
Status choose(const Asked& asked, Execution& execution, Plan& plan);

// Checks and plans a call. read(call, problem) checks the request. `given` is false where the call
// is not run now, as in tw_workspace: tensors then need no memory, and the workspace is not
// checked.
template <class Checked, class Read>
Status prepare(const tw_execution* from, bool given, const Read& read,
               Prepared<Checked>& prepared) {
  Execution& execution = prepared.execution;
  TW_TRY(check(from, execution));
  execution.buffers.given = given;
  Call call(execution.buffers);
  TW_TRY(read(call, prepared.problem));
  TW_TRY(choose(&prepared.problem, execution, prepared.plan));
  return given ? check_memory(call, prepared.plan, execution, kAsker<Checked>) : Status{};
}

// Runs the prepared call.
template <class Checked>
Status run(const Prepared<Checked>& call) {
  TW_TRY(call.plan.backend->run(&call.problem, call.plan, call.execution.resources()));
  return check_hook(call.execution.parallel);
}

// Does ahead of time what the prepared call's first run would do once.
template <class Checked>
Status make_ready(const Prepared<Checked>& call) {
  return call.plan.backend->prepare(&call.problem, call.plan, call.execution.resources());
}

// Returns the status code and copies the sentence into `message`, cut to fit.
tw_status answer(const Status& status, char* message, std::size_t message_bytes);

}  // namespace tilewise
