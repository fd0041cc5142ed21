#include "fuzz/execution.h"

namespace tilewise::fuzz {
namespace {

constexpr std::int32_t kMostThreads = 3;

// The last task first, and every worker in turn. `host` is the Where's own parallel.
void run_backwards(void* host, std::int64_t tasks, tw_task task, void* argument) {
  const auto workers = static_cast<const tw_parallel*>(host)->workers;
  for (std::int64_t t = tasks; t-- > 0;) task(argument, t, static_cast<std::int32_t>(t % workers));
}

}  // namespace

Where::Where(Bytes& bytes) {
  execution.known.threads = static_cast<std::int32_t>(bytes.from(1, kMostThreads));
  parallel.known.parallel_for = run_backwards;
  parallel.known.host = &parallel.known;
  parallel.known.workers = static_cast<std::int32_t>(bytes.from(1, 4));
  if (bytes.flag()) execution.known.parallel = &parallel.known;
}

Surface Where::surface() {
  tw_execution& e = execution.known;
  Surface all;
  all.add(execution);
  all.add(parallel);
  all.words = {&e.device.kind, &e.device.index, &e.threads, &parallel.known.workers};
  all.add_pointer(e.parallel);
  all.forget.emplace_back([this] { parallel.known.parallel_for = nullptr; });
  return all;
}

void Where::keep_few_threads() {
  std::int32_t& threads = execution.known.threads;
  if (threads > kMostThreads && threads <= 4096) threads = 1 + threads % kMostThreads;
  if (threads == 0) threads = 1;
}

}  // namespace tilewise::fuzz
