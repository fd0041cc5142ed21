#include "api/call.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace tilewise {
namespace {

// More workers than this are a mistake, and their workspace would overflow.
constexpr int kMostWorkers = 4096;

Status check_size(std::size_t size, std::size_t known, const char* name) {
  if (size >= known) return {};
  return invalid("%s.size is %zu: set it to sizeof(%s), which is %zu in this version.", name, size,
                 name, known);
}

// A struct of a newer header is fine as long as it uses nothing that this library does not know.
Status check_tail(const void* given, std::size_t size, std::size_t known, const char* name) {
  const auto* bytes = static_cast<const unsigned char*>(given);
  const bool used =
      std::any_of(bytes + known, bytes + size, [](unsigned char b) { return b != 0; });
  if (!used) return {};
  return unsupported("%s uses fields of a newer tilewise than this one, which is %s.", name,
                     tw_version());
}

template <class Struct>
Status check_struct(const Struct& given, const char* name) {
  if (Status status = check_size(given.size, sizeof given, name); !status.ok()) return status;
  return check_tail(&given, given.size, sizeof given, name);
}

Status check_parallel(const tw_parallel* given, Execution& execution) {
  if (!given) return {};
  if (Status status = check_struct(*given, "tw_parallel"); !status.ok()) return status;
  if (!given->parallel_for) return invalid("tw_parallel.parallel_for is null: give a function.");
  if (given->workers < 1 || given->workers > kMostWorkers)
    return invalid("tw_parallel.workers is %d: give 1 to %d.", given->workers, kMostWorkers);
  execution.parallel = Parallel(Hook{given->parallel_for, given->host, given->workers});
  return {};
}

// The bytes between a view's first and last element.
struct Hull {
  const std::byte* begin;
  const std::byte* end;
};

Hull hull(const View& view) {
  const int64 sizes[] = {view.size.batch, view.size.head, view.size.row, view.size.column};
  const int64 strides[] = {view.stride.batch, view.stride.head, view.stride.row,
                           view.stride.column};
  int64 low = 0, high = 1;
  for (int axis = 0; axis < 4; ++axis) {
    const int64 reach = sizes[axis] > 1 ? (sizes[axis] - 1) * strides[axis] : 0;
    (reach < 0 ? low : high) += reach;
  }
  return {view.at(low), view.at(high)};
}

}  // namespace

Status check(const tw_execution* given, Execution& execution) {
  execution.machine.workers = available_threads();
  if (given) {
    if (Status status = check_struct(*given, "tw_execution"); !status.ok()) return status;
    execution.machine.device = given->device;
    if (given->device.kind != TW_CPU && given->device.kind != TW_CUDA)
      return invalid("tw_execution.device.kind is %d: give TW_CPU (0) or TW_CUDA (1).",
                     given->device.kind);
    if (given->threads < 0 || given->threads > kMostWorkers)
      return invalid("tw_execution.threads is %d: give 1 to %d, or 0 for all.", given->threads,
                     kMostWorkers);
    if (given->threads > 0) execution.machine.workers = given->threads;
    execution.workspace = static_cast<std::byte*>(given->workspace);
    execution.workspace_bytes =
        static_cast<int64>(std::min<std::size_t>(given->workspace_bytes, PTRDIFF_MAX));
  }
  execution.parallel = Parallel(execution.machine.workers);
  if (Status status = check_parallel(given ? given->parallel : nullptr, execution); !status.ok())
    return status;
  execution.machine.workers = execution.parallel.workers();
  return {};
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
  const std::byte* end = execution.workspace + needed;
  const View tensors[] = {
      p.query,           p.key,           p.value,           p.output,         p.lse,
      p.mask.visible,    p.mask.blocks,   p.scores.slopes,   p.scores.bias,    p.scores.sinks,
      p.gradients.query, p.gradients.key, p.gradients.value, p.gradients.bias, p.gradients.slopes,
      p.gradients.sinks, p.gradients.lse, p.gradients.output};
  for (const View& view : tensors) {
    const bool empty = view.size.batch * view.size.head * view.size.row * view.size.column == 0;
    if (!view || !view.data || empty) continue;
    const Hull used = hull(view);
    if (used.begin < end && execution.workspace < used.end)
      return invalid("The workspace overlaps a tensor of the request: give it memory of its own.");
  }
  return {};
}

}  // namespace tilewise
