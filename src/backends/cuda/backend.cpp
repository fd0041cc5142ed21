// CUDA's entry in the list: what it accepts, how it plans, and how a call reaches the device.
#include <algorithm>

#include "backends/cuda/loaded.h"
#include "backends/cuda/plain_kernels.h"

namespace tilewise::cuda {
namespace {

// Grids have one dimension; kernels with more tasks than blocks take several each.
constexpr int64 kMostBlocks = 1 << 30;

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
  TW_TRY(check_parts(asked));
  return check_tables(asked);
}

// What a run needs of its plan.
struct Decided {
  Device* device = nullptr;
};

Plan plan(const Asked& asked, const Machine& machine) {
  Decided decided;
  // As `accepts` has seen; a device that was lost since then is missed by `run`.
  static_cast<void>(Device::find(machine.device.index, decided.device));
  Plan plan;
  if (const auto* attention = std::get_if<const Problem*>(&asked)) {
    const int side = is_double(**attention) ? plain::kSide<double> : plain::kSide<float>;
    plan.tile = {side, side};
  }
  plan.workspace_bytes = plain_workspace(asked);
  plan.choice.set(decided);
  return plan;
}

Status device_of(const Plan& plan, Device*& device) {
  device = plan.choice.get<Decided>().device;
  return device ? Status{} : failed("the CUDA device is gone.");
}

// What a call launches, by places among packed_variants(), each once.
class Launched {
 public:
  explicit Launched(const Asked& asked) {
    // Nothing is refused here.
    static_cast<void>(
        run_call(asked, nullptr, nullptr, [this](const auto& choice, const auto&, int64) {
          add(index_of(choice));
          return Status{};
        }));
  }

  std::span<const int> indices() const { return {indices_, count_}; }

 private:
  void add(int index) {
    if (std::find(indices_, indices_ + count_, index) == indices_ + count_)
      indices_[count_++] = index;
  }

  int indices_[kPlainVariants] = {};
  std::size_t count_ = 0;
};

Status prepare(const Asked& asked, const Plan& plan, const Resources&) {
  Device* device = nullptr;
  TW_TRY(device_of(plan, device));
  return load(*device, Launched(asked).indices());
}

// Kernels that nobody prepared are loaded on the way, but for a call that is captured: what that
// would compile and allocate belongs to no graph.
Status make_ready(Device& device, const Asked& asked, Stream stream) {
  bool captures = false;
  TW_TRY(device.is_capturing(stream, captures));
  if (captures)
    return invalid(
        "the stream is captured and this call's kernels are not loaded: call tw_prepare for it "
        "before.");
  return load(device, Launched(asked).indices());
}

Status run(const Asked& asked, const Plan& plan, const Resources& resources) {
  Device* device = nullptr;
  TW_TRY(device_of(plan, device));
  const auto stream = static_cast<Stream>(resources.stream);
  TW_TRY(device->check_stream(stream));
  const Current current(*device);
  core::uint32* error = resources.error;
  if (!error) error = reinterpret_cast<core::uint32*>(device->error_word());
  return run_call(asked, resources.workspace, error,
                  [&](const PlainChoice& choice, const auto& arguments, int64 tasks) -> Status {
                    if (tasks <= 0) return {};
                    Kernel kernel = loaded(*device, index_of(choice));
                    if (!kernel) {
                      TW_TRY(make_ready(*device, asked, stream));
                      kernel = loaded(*device, index_of(choice));
                    }
                    const Variant& variant = variant_of(choice);
                    const Grid grid{{static_cast<unsigned>(std::min(tasks, kMostBlocks)), 1, 1},
                                    static_cast<unsigned>(variant.threads),
                                    static_cast<unsigned>(variant.dynamic_shared_bytes)};
                    return device->launch(kernel, grid, stream, arguments);
                  });
}

void describe(const Problem& problem, const Plan& plan, Text& note) {
  const Device* device = plan.choice.get<Decided>().device;
  note.add("sm_%d, %d multiprocessors; plain kernels, without tensor cores", device->architecture(),
           device->processors());
  if (problem.operation == TW_BACKWARD)
    note.add("; each pass recomputes the scores, two products more than the least");
  note.add("\n");
  describe_origin(*device, Launched(&problem).indices(), note);
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
