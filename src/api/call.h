// What every function of the C face does first and last: read the execution, check and plan, hand
// back the sentence.
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

// A call that may be run: what is asked of one kind, its plan, and what it runs with.
template <class Checked>
struct Prepared {
  Checked problem;
  Plan plan;
  Execution execution;
};

// Whether the workspace is there, large enough, where the call runs, and no tensor's memory; and
// whether the error word is there. `asker` is the function that says how much workspace.
Status check_memory(const Call& call, const Plan& plan, const Execution& execution,
                    const char* asker);

// The function of the C face that says how much workspace a call of that kind takes.
template <class Checked>
inline constexpr const char* kAsker = "tw_workspace";
template <>
inline constexpr const char* kAsker<RotaryProblem> = "tw_workspace_rotary";
template <>
inline constexpr const char* kAsker<AppendProblem> = "tw_workspace_append";

// After a run: whether the embedder's threads did what they had to.
Status check_hook(const Parallel& parallel);

// The backend that the execution names, or else the environment.
Status choose(const Asked& asked, Execution& execution, Plan& plan);

// `given` is false for questions: then no tensor needs its memory, and no workspace is looked at.
// read(call, problem) checks the request.
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

// What is prepared, run.
template <class Checked>
Status run(const Prepared<Checked>& call) {
  TW_TRY(call.plan.backend->run(&call.problem, call.plan, call.execution.resources()));
  return check_hook(call.execution.parallel);
}

// What is prepared, made ready for its first run.
template <class Checked>
Status make_ready(const Prepared<Checked>& call) {
  return call.plan.backend->prepare(&call.problem, call.plan, call.execution.resources());
}

// The code for the caller; the sentence into `message`, cut to fit.
tw_status answer(const Status& status, char* message, std::size_t message_bytes);

}  // namespace tilewise
