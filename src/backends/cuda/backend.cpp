// CUDA's entry in the list: what it accepts, how it plans, and how a call reaches the device.
#include <algorithm>

#include "backends/cuda/kernel_choice.h"
#include "backends/cuda/loaded.h"

namespace tilewise::cuda {
namespace {

Status check_tables(bool on_device) {
  if (on_device) return {};
  return unsupported(
      "lengths, offsets and tables of a call on a CUDA device must lie there, too: copy them and "
      "set "
      "execution.device_tables.");
}

bool lies_on_host(const View& table) {
  return table && !table.on_device;
}

bool has_host_tables(const tilewise::Side& side) {
  return lies_on_host(side.offsets) || lies_on_host(side.used) || lies_on_host(side.start) ||
         lies_on_host(side.batch_index) || lies_on_host(side.page_table);
}

Status check_tables(const Asked& asked) {
  return check_tables(!std::visit(
      Cases{
          [](const Problem* p) { return has_host_tables(p->queries) || has_host_tables(p->keys); },
          [](const RotaryProblem* p) {
            return has_host_tables(p->side) || lies_on_host(p->positions);
          },
          [](const AppendProblem* p) {
            return has_host_tables(p->fresh) || has_host_tables(p->cache) ||
                   lies_on_host(p->lengths);
          },
          [](const MergeProblem*) { return false; }},
      asked));
}

Status check_parts(const Asked& asked) {
  const auto* merge = std::get_if<const MergeProblem*>(&asked);
  if (!merge || (*merge)->parts <= kMostParts) return {};
  return unsupported("it merges at most %d parts at once, and there are %lld: merge some first.",
                     kMostParts, static_cast<long long>((*merge)->parts));
}

Status accepts(const Asked& asked, const Machine& machine) {
  if (machine.device.kind != TW_CUDA)
    return unsupported("it runs on CUDA devices, and the processor is asked for.");
  Device* device = nullptr;
  TW_TRY(Device::find(machine.device.index, device));
  TW_TRY(check_kernels_setting());
  TW_TRY(check_parts(asked));
  return check_tables(asked);
}

// What a run needs of its plan.
struct Decided {
  Device* device = nullptr;
  KernelChoice kernels;
};

Tile tile_of(const Problem& problem, const KernelChoice& kernels) {
  if (!kernels.why_plain) return {simple::kRows, simple::kKeys};
  const int side = is_double(problem) ? plain::kSide<double> : plain::kSide<float>;
  return {side, side};
}

Plan plan(const Asked& asked, const Machine& machine) {
  Decided decided;
  // As `accepts` has seen; a device that was lost since then is missed by `run`.
  static_cast<void>(Device::find(machine.device.index, decided.device));
  decided.kernels = choose_kernels(asked);
  Plan plan;
  if (const auto* attention = std::get_if<const Problem*>(&asked))
    plan.tile = tile_of(**attention, decided.kernels);
  plan.workspace_bytes = workspace_of(asked, decided.kernels);
  plan.choice.set(decided);
  return plan;
}

Status device_of(const Plan& plan, Device*& device) {
  device = plan.choice.get<Decided>().device;
  return device ? Status{} : failed("the CUDA device is gone.");
}

Status prepare(const Asked& asked, const Plan& plan, const Resources&) {
  Device* device = nullptr;
  TW_TRY(device_of(plan, device));
  return run_call(
      asked, plan.choice.get<Decided>().kernels, {},
      [&](const auto& choice, const auto&, int64) { return load(*device, index_of(choice)); });
}

// Kernels that nobody prepared are loaded on the way, but for a call that is captured: what that
// would compile and allocate belongs to no graph.
Status ready(Device& device, int index, Stream stream, Kernel& kernel) {
  kernel = loaded(device, index);
  if (kernel) return {};
  bool captures = false;
  TW_TRY(device.is_capturing(stream, captures));
  if (captures)
    return invalid(
        "the stream is captured and this call's kernels are not loaded: call tw_prepare for it "
        "before.");
  TW_TRY(load(device, index));
  kernel = loaded(device, index);
  return {};
}

Status run(const Asked& asked, const Plan& plan, const Resources& resources) {
  Device* device = nullptr;
  TW_TRY(device_of(plan, device));
  const auto stream = static_cast<Stream>(resources.stream);
  TW_TRY(device->check_stream(stream));
  const Current current(*device);
  core::uint32* error = resources.error;
  if (!error) error = reinterpret_cast<core::uint32*>(device->error_word());
  // Grids have a limit; plain kernels with more tasks than blocks take several each.
  return run_call(asked, plan.choice.get<Decided>().kernels,
                  {resources.workspace, error, device->processors()},
                  [&](const auto& choice, const auto& arguments, int64 tasks) -> Status {
                    if (tasks <= 0) return {};
                    Kernel kernel = nullptr;
                    TW_TRY(ready(*device, index_of(choice), stream, kernel));
                    const Variant& variant = variant_of(choice);
                    const Grid grid{{static_cast<unsigned>(std::min(tasks, kMostBlocks)), 1, 1},
                                    static_cast<unsigned>(variant.threads),
                                    static_cast<unsigned>(variant.dynamic_shared_bytes)};
                    return device->launch(kernel, grid, stream, arguments);
                  });
}

void describe(const Problem& problem, const Plan& plan, Text& note) {
  const auto [device, kernels] = plan.choice.get<Decided>();
  note.add("sm_%d, %d multiprocessors; ", device->architecture(), device->processors());
  if (kernels.why_plain)
    note.add("%s: plain kernels, without tensor cores", kernels.why_plain);
  else
    note.add("simple kernel, tensor cores, head dims up to %d",
             kSimpleDims[kernels.simple.dim_number]);
  if (problem.operation == TW_BACKWARD)
    note.add("; each pass recomputes the scores, two products more than the least");
}

// Of one multiprocessor.
double fast_bytes(const Machine&) {
  return 228.0 * 1024;
}

double predict(const Problem&, const Plan&, const Work&, const Parallel&) {
  return 0;
}

}  // namespace

extern const Backend kBackend;
const Backend kBackend{
    .name = "cuda",
    .device = TW_CUDA,
    .summary =
        "tiles in shared memory, one thread block each: every feature, any NVIDIA GPU since "
        "Ampere",
    .accepts = accepts,
    .plan = plan,
    .prepare = prepare,
    .run = run,
    .describe = describe,
    .fast_bytes = fast_bytes,
    .predict = predict};

}  // namespace tilewise::cuda
