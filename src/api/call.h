// What every function of the C face does first and last: read the execution, hand back the
// sentence.
#pragma once

#include "parallel/arithmetic.h"
#include "plan/backend.h"

namespace tilewise {

struct Execution {
  Machine machine;
  Parallel parallel{1};
  std::byte* workspace = nullptr;
  int64 workspace_bytes = 0;
};

Status check(const tw_execution* given, Execution& execution);

// Before planning: takes no more workers than the problem is worth. An embedder's threads cannot be
// told to be fewer, so of those it takes all, or none beside the caller.
void limit_workers(const Problem& problem, Execution& execution);

// The code for the caller; the sentence into `message`, cut to fit.
tw_status answer(const Status& status, char* message, std::size_t message_bytes);

// Whether the workspace is there, large enough, and no tensor's memory.
Status check_workspace(const Problem& problem, const Plan& plan, const Execution& execution);

// After a run: whether the embedder's threads did what they had to.
Status check_hook(const Parallel& parallel);

}  // namespace tilewise
