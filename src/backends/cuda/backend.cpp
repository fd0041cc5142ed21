// The CUDA backend: what it accepts, how it plans, and how a call reaches the device.
#include <algorithm>

#include "backends/cuda/driver/memory.h"
#include "backends/cuda/host_tables.h"
#include "backends/cuda/kernel_choice.h"
#include "backends/cuda/loaded.h"
#include "plan/settings.h"

namespace tilewise::cuda {
namespace {

Status check_parts(const Asked& asked) {
  const auto* merge = std::get_if<const MergeProblem*>(&asked);
  if (!merge || (*merge)->parts <= kMostParts) return {};
  return unsupported("it merges at most %d parts at once, and there are %lld: merge some first.",
                     kMostParts, static_cast<long long>((*merge)->parts));
}

Status accepts(const Asked& asked, const Machine& machine) {
  Device* device = nullptr;
  TW_TRY(Device::find(machine.device.index, device));
  TW_TRY(check_kernels_setting());
  return check_parts(asked);
}

// What a plan stores for its run.
struct Decided {
  Device* device = nullptr;
  KernelChoice kernels;
};

Tile tile_of(const Problem& problem, const KernelChoice& kernels) {
  if (!kernels.why_plain && problem.operation == TW_BACKWARD)
    return {kernels.backward.tiles().queries, kernels.backward.tiles().keys};
  if (!kernels.why_plain) return {kernels.forward.size().rows, kernels.forward.size().keys};
  const int side = is_double(problem) ? plain::kSide<double> : plain::kSide<float>;
  return {side, side};
}

Gpu gpu_of(const Device* device) {
  return device ? Gpu{device->processors(), device->block_bytes(), device->architecture(), device,
                      can_have}
                : Gpu{};
}

Plan plan(const Asked& asked, const Machine& machine) {
  Decided decided;
  // `accepts` has opened the device. If the device cannot be opened again after a reset, the call
  // is planned with the device's old properties, and `run` reports the driver's error.
  decided.device = Device::found_before(machine.device.index);
  const Gpu gpu = gpu_of(decided.device);
  decided.kernels = choose_kernels(asked, gpu);
  Plan plan;
  if (const auto* attention = std::get_if<const Problem*>(&asked))
    plan.tile = tile_of(**attention, decided.kernels);
  plan.workspace_bytes = host_table_bytes(asked) + workspace_of(asked, decided.kernels, gpu);
  plan.choice.set(decided);
  return plan;
}

Status device_of(const Plan& plan, Device*& device) {
  device = plan.choice.get<Decided>().device;
  return device ? Status{} : failed("the CUDA device is gone.");
}

// Calls launch(kernel, arguments, tasks) for each kernel of a call, including the copy of host
// tables.
template <class Launch>
Status run_all(const Asked& asked, const KernelChoice& kernels, const Room& room,
               const Launch& launch) {
  return with_tables_there(
      asked, room.workspace, [&](const Tables& tables) { return run_tables(tables, launch); },
      [&](const Asked& call, std::byte* rest) {
        return run_call(call, kernels, {rest, room.error, room.gpu}, launch);
      });
}

// The indices of the kernels that a call launches, each once.
class Launched {
 public:
  Launched(const Asked& asked, const KernelChoice& kernels) {
    // The status is always good, because the callback never fails.
    static_cast<void>(
        run_all(asked, kernels, Room{}, [this](const auto& choice, const auto&, int64 tasks) {
          if (tasks > 0) add(index_of(choice));
          return Status{};
        }));
  }

  std::span<const int> indices() const { return {indices_, count_}; }

 private:
  void add(int index) {
    if (std::find(indices_, indices_ + count_, index) == indices_ + count_)
      indices_[count_++] = index;
  }

  static constexpr int kMostKernels = 16;  // per call
  int indices_[kMostKernels] = {};
  std::size_t count_ = 0;
};

// Loads the kernels of a call. If that fails and one of them is featured, general kernels replace
// the featured one, now and in later calls. The call fails only if they cannot be loaded either.
Status load_all(Device& device, const Asked& asked, KernelChoice& kernels) {
  const Status status = load(device, Launched(asked, kernels).indices());
  if (status.ok() || !kernels.has_features()) return status;
  give_up(device, kernels.featured_index());
  kernels = choose_kernels(asked, gpu_of(&device));
  return load(device, Launched(asked, kernels).indices());
}

Status prepare(const Asked& asked, const Plan& plan, const Resources&) {
  Device* device = nullptr;
  TW_TRY(device_of(plan, device));
  KernelChoice kernels = plan.choice.get<Decided>().kernels;
  return load_all(*device, asked, kernels);
}

bool all_loaded(const Device& device, std::span<const int> indices) {
  return std::all_of(indices.begin(), indices.end(),
                     [&](int index) { return loaded(device, index) != nullptr; });
}

// Loads the kernels of a call that are not loaded yet. Fails if the stream is being captured,
// because loading may compile and allocate, which cannot be part of a graph.
Status make_ready(Device& device, const Asked& asked, KernelChoice& kernels, Stream stream) {
  if (all_loaded(device, Launched(asked, kernels).indices())) return {};
  bool captures = false;  // the context is current: `run` made it so
  TW_TRY(device.is_capturing(stream, captures));
  if (captures)
    return invalid(
        "the stream is captured and this call's kernels are not loaded: call tw_prepare for it "
        "before.");
  return load_all(device, asked, kernels);
}

// Probabilities and a forward without a merge take one kernel, unless tables on the host are copied
// first.
bool takes_several(const Asked& asked, const KernelChoice& kernels) {
  const auto* attention = std::get_if<const Problem*>(&asked);
  return !attention || (*attention)->operation == TW_BACKWARD || kernels.forward.merges ||
         host_table_bytes(asked) > 0;
}

Status run(const Asked& asked, const Plan& plan, const Resources& resources) {
  Device* device = nullptr;
  TW_TRY(device_of(plan, device));
  const auto stream = static_cast<Stream>(resources.stream);
  const Current current(*device, stream);
  TW_TRY(current.status());
  TW_TRY(device->check_stream(stream));
  // A refused call may change nothing, so a call of several kernels loads all of them before its
  // first launch. So does a call with a featured kernel, because loading may replace that kernel.
  KernelChoice kernels = plan.choice.get<Decided>().kernels;
  if (takes_several(asked, kernels) || kernels.has_features())
    TW_TRY(make_ready(*device, asked, kernels, stream));
  core::uint32* error = resources.error;
  if (!error) error = device->error_word();
  // The size of a grid is limited. Plain kernels with more tasks than blocks loop over several.
  return run_all(asked, kernels, {resources.workspace, error, gpu_of(device)},
                 [&](const auto& choice, const auto& arguments, int64 tasks) -> Status {
                   if (tasks <= 0) return {};
                   const int index = index_of(choice);
                   if (!loaded(*device, index)) TW_TRY(make_ready(*device, asked, kernels, stream));
                   const Variant& variant = variant_of(choice);
                   const Grid grid{{static_cast<unsigned>(std::min(tasks, kMostBlocks)), 1, 1},
                                   static_cast<unsigned>(variant.threads),
                                   static_cast<unsigned>(variant.dynamic_shared_bytes)};
                   return device->launch(loaded(*device, index), grid, stream, arguments);
                 });
}

// Without a device there is nothing to check; `accepts`, which is asked later, says why.
Status check_place(const tw_device& where, const char* name, const View& view) {
  Device* device = nullptr;
  const Status found = Device::find_opened(where.index, device);
  if (!found.ok()) return found.code == TW_FAILED ? found : Status{};
  return device->check_place(name, view.data, view.on_device);
}

Status take_faults(const tw_device& where, void* given, core::uint32& faults) {
  const auto stream = static_cast<Stream>(given);
  Device* device = nullptr;
  TW_TRY(Device::find(where.index, device));
  const Current current(*device, stream);
  TW_TRY(current.status());
  TW_TRY(device->check_stream(stream));
  bool captures = false;
  TW_TRY(device->is_capturing(stream, captures));
  if (captures)
    return invalid(
        "execution.stream is captured, or is the default stream while another one is, and what "
        "will be reported is known when it has run: take the faults after a replay.");
  TW_TRY(device->wait(stream));
  return device->take_faults(faults);
}

// Describes a kernel that would be faster, and why it is not available.
void describe_missing(const Problem& problem, const Device& device, Text& note) {
  Featured featured;
  if (!wants_featured(problem, gpu_of(&device), featured)) return;
  note.add(". One with %s compiled in is faster, ", feature_words(featured.features).c_str());
  const Settings set = settings();
  if (*set.cuda_kernels)
    note.add("which TILEWISE_CUDA_KERNELS=%s leaves out", set.cuda_kernels);
  else
    note.add("and wants NVRTC, which would compile it");
}

void describe_sm80(const Problem& problem, const Sm80Forward& forward, const Device& device,
                   Text& note) {
  const sm80::Size& size = forward.size();
  note.add("tensor cores, head dims up to %d, tiles of %d queries by %d keys, %s", size.dim,
           size.rows, size.keys, size.stages == 1 ? "one stage" : "two stages");
  if (is_short(size.kind)) note.add("; the variant for few queries, or few keys");
  if (forward.features != 0)
    note.add("; %s: compiled in", feature_words(forward.features).c_str());
  else if (const char* general = why_general(problem))
    note.add("; %s: the general variant", general);
  if (forward.heads_in_tile > 1) note.add("; %d heads share a tile", forward.heads_in_tile);
  if (forward.splits > 1)
    note.add("; keys in %d splits, merged in their order", forward.splits);
  else if (forward.merges)
    note.add(problem.output.dtype != problem.query.dtype
                 ? "; the output's type is another one: by way of the workspace"
                 : "; sinks: by way of the workspace");
  if (forward.features == 0) describe_missing(problem, device, note);
}

void describe_sm80(const Problem& problem, const Sm80Backward& backward, const Device& device,
                   Text& note) {
  const sm80::BackwardShape& tiles = backward.tiles();
  note.add("tensor cores, head dims up to %d, tiles of %d keys by %d queries, %d warps", tiles.dim,
           tiles.keys, tiles.queries, tiles.warps());
  const bool is_short = tiles.kind == sm80::BackwardKind::kShort;
  if (tiles.kind == sm80::BackwardKind::kFew) note.add("; the variant for few blocks");
  if (is_short) note.add("; the variant for short sequences: a block has all keys of one");
  if (backward.features != 0)
    note.add("; %s: compiled in", feature_words(backward.features).c_str());
  else if (const char* more = why_not_common_backward(problem))
    note.add("; %s: the %s variant", more,
             tiles.kind == sm80::BackwardKind::kMasked ? "masked" : "general");
  if (problem.deterministic && !is_short)
    note.add("; deterministic: blocks add to the query's gradient in the order of their keys");
  if (backward.features == 0) describe_missing(problem, device, note);
}

void describe(const Problem& problem, const Plan& plan, Text& note) {
  const auto [device, kernels] = plan.choice.get<Decided>();
  if (!device) {
    note.add("the CUDA device is gone");
    return;
  }
  note.add("sm_%d, %d multiprocessors; ", device->architecture(), device->processors());
  if (kernels.why_plain)
    note.add("%s: plain kernels, without tensor cores", kernels.why_plain);
  else if (problem.operation == TW_BACKWARD)
    describe_sm80(problem, kernels.backward, *device, note);
  else
    describe_sm80(problem, kernels.forward, *device, note);
  if (kernels.why_plain && problem.operation == TW_BACKWARD)
    note.add("; each pass recomputes the scores, two products more than the least");
  note.add("\n");
  describe_origin(*device, Launched(&problem, kernels).indices(), note);
}

// Shared memory of a multiprocessor; Hopper's if there is no device to ask.
double fast_bytes(const Machine& machine) {
  Device* device = nullptr;
  const Status found = Device::find_opened(machine.device.index, device);
  return found.ok() ? device->shared_bytes() : 228.0 * 1024;
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
    .run = run,
    .prepare = prepare,
    .describe = describe,
    .fast_bytes = fast_bytes,
    .check_place = check_place,
    .take_faults = take_faults,
    .devices = &kDeviceCalls};

}  // namespace tilewise::cuda
