#include "api/call.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "plan/share.h"
#include "problem/overlap.h"
#include "problem/structs.h"

namespace tilewise {
namespace {

// More workers than this are a mistake, and their workspace would overflow.
constexpr int kMostWorkers = 4096;

Status check_parallel(const tw_parallel* given, Execution& execution) {
  if (!given) return {};
  TW_TRY(check_struct(given, "execution.parallel", "tw_parallel"));
  if (!given->parallel_for)
    return invalid("execution.parallel.parallel_for is null: give a function.");
  if (given->workers < 1 || given->workers > kMostWorkers)
    return invalid("execution.parallel.workers is %d: give 1 to %d.", given->workers, kMostWorkers);
  execution.parallel = Parallel(Hook{given->parallel_for, given->host, given->workers});
  return {};
}

// The part of the workspace that a call writes.
View view_of(std::byte* workspace, int64 bytes) {
  return {workspace, DType::kBool, {1, 1, 1, bytes}, {0, 0, 0, 1}};
}

auto tensors_of(const Problem& p) {
  return std::array{p.query,
                    p.key,
                    p.value,
                    p.output,
                    p.lse,
                    p.mask.visible,
                    p.mask.blocks,
                    p.scores.slopes,
                    p.scores.bias,
                    p.scores.sinks,
                    p.queries.offsets,
                    p.queries.used,
                    p.queries.start,
                    p.keys.offsets,
                    p.keys.used,
                    p.keys.start,
                    p.keys.batch_index,
                    p.keys.page_table,
                    p.dropout.state,
                    p.scaling.query,
                    p.scaling.key,
                    p.scaling.value,
                    p.scaling.output_gradient,
                    p.gradients.output,
                    p.gradients.lse,
                    p.gradients.query,
                    p.gradients.key,
                    p.gradients.value,
                    p.gradients.bias,
                    p.gradients.slopes,
                    p.gradients.sinks};
}

}  // namespace

Status check(const tw_execution* given, Execution& execution) {
  execution.machine.workers = available_threads();
  if (given) {
    TW_TRY(check_struct(given, "execution", "tw_execution"));
    execution.machine.device = given->device;
    if (given->device.kind != TW_CPU && given->device.kind != TW_CUDA)
      return invalid("execution.device.kind is %d: give TW_CPU (0) or TW_CUDA (1).",
                     given->device.kind);
    if (given->threads < 0 || given->threads > kMostWorkers)
      return invalid("execution.threads is %d: give 1 to %d, or 0 for all.", given->threads,
                     kMostWorkers);
    if (given->threads > 0) execution.machine.workers = given->threads;
    execution.workspace = static_cast<std::byte*>(given->workspace);
    execution.workspace_bytes =
        static_cast<int64>(std::min<std::size_t>(given->workspace_bytes, PTRDIFF_MAX));
  }
  execution.parallel = Parallel(execution.machine.workers);
  TW_TRY(check_parallel(given ? given->parallel : nullptr, execution));
  execution.machine.workers = execution.parallel.workers();
  if (execution.machine.workers == 0)
    return invalid("TILEWISE_NUM_THREADS is '%.40s': give 1 to %d, or 0 for all.",
                   thread_limit_text(), kMostWorkers);
  return {};
}

void limit_workers(const Problem& problem, Execution& execution) {
  const int available = execution.machine.workers, worth = workers_worth(problem, available);
  if (worth == available || (worth > 1 && execution.parallel.is_embedders())) return;
  execution.machine.workers = worth;
  execution.parallel = Parallel(worth);
}

Status check_hook(const Parallel& parallel) {
  const auto [of, given, allowed] = parallel.breach();
  const long long wrong = given, right = allowed;
  switch (of) {
    case Breach::Of::kNone:
      return {};
    case Breach::Of::kTask:
      return failed(
          "execution.parallel ran task %lld of %lld: it must run 0 up to the last, each once. What "
          "the call wrote is not to be used.",
          wrong, right);
    case Breach::Of::kWorker:
      return failed(
          "execution.parallel ran a task as worker %lld of %lld: it must be 0 up to the last. What "
          "the call wrote is not to be used.",
          wrong, right);
    case Breach::Of::kCount:
      break;
  }
  return failed(
      "execution.parallel ran %lld of %lld tasks: it must run each once, before it returns. What "
      "the call wrote is not to be used.",
      wrong, right);
}

tw_status answer(const Status& status, char* message, std::size_t message_bytes) {
  if (message && message_bytes > 0) std::snprintf(message, message_bytes, "%s", status.sentence);
  return status.code;
}

Status check_workspace(const Problem& p, const Plan& plan, const Execution& execution) {
  const long long needed = plan.workspace_bytes, given = execution.workspace_bytes;
  if (needed == 0) return {};
  if (!execution.workspace)
    return invalid("The workspace is null: this call takes %lld bytes, as tw_workspace says.",
                   needed);
  if (given < needed)
    return invalid("The workspace has %lld bytes: this call takes %lld, as tw_workspace says.",
                   given, needed);
  const View workspace = view_of(execution.workspace, needed);
  for (const View& view : tensors_of(p)) {
    if (share_bytes(view, workspace) != Answer::kNo)
      return invalid("The workspace overlaps a tensor of the request: give it memory of its own.");
  }
  return {};
}

}  // namespace tilewise
