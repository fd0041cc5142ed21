#include "api/call.h"

#include <algorithm>
#include <cstdio>

#include "plan/settings.h"
#include "problem/structs.h"

namespace tilewise {
namespace {

// The most workers of a call. More are a mistake, and the size of their workspace could overflow.
constexpr int kMostWorkers = 4096;

Status check_parallel(const tw_parallel* parallel, Execution& execution) {
  if (!parallel) return {};
  Given<tw_parallel> given;
  TW_TRY(given.read(parallel, "execution.parallel", "tw_parallel"));
  if (!given->parallel_for)
    return invalid("execution.parallel.parallel_for is null: give a function.");
  if (given->workers < 1 || given->workers > kMostWorkers)
    return invalid("execution.parallel.workers is %d: give 1 to %d.", given->workers, kMostWorkers);
  execution.parallel = Parallel(Hook{given->parallel_for, given->host, given->workers});
  execution.machine.all_workers = true;
  return {};
}

Status check_tables(const tw_execution& given, Execution& execution) {
  TW_TRY(check_flag(given.device_tables, "execution.device_tables"));
  if (given.reserved != 0)
    return unsupported("execution.reserved is %d: it belongs to a newer tilewise; leave it 0.",
                       given.reserved);
  if (given.device_tables && given.device.kind == TW_CPU)
    return invalid(
        "execution.device_tables is 1 but the call runs on the processor, whose memory is the "
        "host's: leave it 0.");
  execution.buffers.on_device = given.device.kind != TW_CPU;
  execution.buffers.tables_on_device = given.device_tables != 0;
  execution.buffers.device = given.device;
  if (const Backend* backend = backend_of(execution.machine.device))
    execution.buffers.check_place = backend->check_place;
  return {};
}

// A view of `bytes` bytes of memory that no tensor describes.
View view_of(std::byte* memory, int64 bytes, bool on_device) {
  return {memory, DType::kBool, {1, 1, 1, bytes}, {0, 0, 0, 1}, on_device};
}

}  // namespace

Status check(const tw_execution* from, Execution& execution) {
  Given<tw_execution> given;
  TW_TRY(given.read(from, "execution", "tw_execution"));
  execution.machine.device = given->device;
  if (given->device.kind != TW_CPU && given->device.kind != TW_CUDA)
    return invalid("execution.device.kind is %d: give TW_CPU (0) or TW_CUDA (1).",
                   given->device.kind);
  if (given->device.index < 0)
    return invalid("execution.device.index is %d: it must not be negative.", given->device.index);
  if (given->threads < 0 || given->threads > kMostWorkers)
    return invalid("execution.threads is %d: give 1 to %d, or 0 for all.", given->threads,
                   kMostWorkers);
  // Threads belong to the processor. By default a call on a device has one worker.
  const bool here = given->device.kind == TW_CPU;
  execution.machine.workers = given->threads > 0 ? given->threads : here ? available_threads() : 1;
  execution.workspace = static_cast<std::byte*>(given->workspace);
  execution.workspace_bytes =
      static_cast<int64>(std::min<std::size_t>(given->workspace_bytes, PTRDIFF_MAX));
  execution.stream = given->stream;
  execution.error = given->error;
  execution.backend = given->backend;
  TW_TRY(check_tables(*given, execution));
  execution.parallel = Parallel(execution.machine.workers);
  TW_TRY(check_parallel(given->parallel, execution));
  execution.machine.workers = execution.parallel.workers();
  if (execution.machine.workers == 0)
    return invalid("TILEWISE_NUM_THREADS is '%.40s': give 1 to %d, or 0 for all.",
                   thread_limit_text(), kMostWorkers);
  return {};
}

Status choose(const Asked& asked, Execution& execution, Plan& plan) {
  const Settings wanted = settings();
  const bool by_caller = execution.backend && *execution.backend;
  const Named named = by_caller ? Named{execution.backend, "execution.backend"}
                                : Named{wanted.backend, "TILEWISE_BACKEND"};
  TW_TRY(choose(asked, execution.machine, named, plan));
  if (plan.workers != execution.parallel.workers()) execution.parallel = Parallel(plan.workers);
  return {};
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
  if (!message || message_bytes == 0) return status.code;
  message[0] = '\0';
  if (!status.ok()) std::snprintf(message, message_bytes, "%s", status.sentence);
  return status.code;
}

namespace {

Status check_place(const Execution& execution, const char* name, const View& view) {
  const Buffers& buffers = execution.buffers;
  return buffers.check_place ? buffers.check_place(buffers.device, name, view) : Status{};
}

Status check_workspace(const Call& call, const Plan& plan, const Execution& execution,
                       const char* asker) {
  const long long needed = plan.workspace_bytes, given = execution.workspace_bytes;
  if (needed == 0) return {};
  if (!execution.workspace)
    return invalid("The workspace is null: this call takes %lld bytes, as %s says.", needed, asker);
  if (given < needed)
    return invalid("The workspace has %lld bytes: this call takes %lld, as %s says.", given, needed,
                   asker);
  const View workspace = view_of(execution.workspace, needed, execution.buffers.on_device);
  TW_TRY(check_place(execution, "The workspace", workspace));
  if (call.overlaps(workspace))
    return invalid("The workspace overlaps a tensor of the request: give it memory of its own.");
  return {};
}

// Checks the error word: a call on a device writes to it if a table has a wrong entry, so it must
// not lie in a tensor, a table or the workspace.
Status check_error_word(const Call& call, const Plan& plan, const Execution& execution) {
  if (!execution.error) return {};
  if (reinterpret_cast<std::uintptr_t>(execution.error) % alignof(core::uint32) != 0)
    return invalid("execution.error is not aligned: it must lie at a multiple of 4 bytes.");
  const View word =
      view_of(reinterpret_cast<std::byte*>(execution.error), sizeof(core::uint32), true);
  TW_TRY(check_place(execution, "execution.error", word));
  const auto at = reinterpret_cast<std::uintptr_t>(execution.error),
             workspace = reinterpret_cast<std::uintptr_t>(execution.workspace);
  const bool in_workspace = workspace != 0 && at + sizeof(core::uint32) > workspace &&
                            at < workspace + static_cast<std::uintptr_t>(plan.workspace_bytes);
  if (in_workspace || call.overlaps(word))
    return invalid(
        "execution.error lies in a tensor or table of the request, or in the workspace: give it "
        "memory of its own.");
  return {};
}

}  // namespace

Status check_memory(const Call& call, const Plan& plan, const Execution& execution,
                    const char* asker) {
  TW_TRY(check_error_word(call, plan, execution));
  return check_workspace(call, plan, execution, asker);
}

}  // namespace tilewise
