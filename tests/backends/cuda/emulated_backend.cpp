#include "emulated_backend.h"

#include <array>
#include <atomic>

#include "backends/cuda/host_tables.h"
#include "backends/cuda/kernel_choice.h"
#include "backends/cuda/kernels/plain/backward_bias.h"
#include "backends/cuda/kernels/plain/backward_heads.h"
#include "backends/cuda/kernels/plain/backward_keys.h"
#include "backends/cuda/kernels/plain/backward_query.h"
#include "backends/cuda/kernels/plain/cache.h"
#include "backends/cuda/kernels/plain/forward.h"
#include "backends/cuda/kernels/plain/merge.h"
#include "backends/cuda/kernels/plain/probabilities.h"
#include "backends/cuda/kernels/sm80/merge.h"
#include "emulated_backward.h"
#include "emulated_sm80.h"
#include "emulator/emulator.h"

namespace tilewise {
namespace {

using cuda::PlainChoice;
using cuda::PlainKernel;
using cuda::Sm80Forward;
using cuda::Sm80Merge;
namespace plain = cuda::plain;
namespace sm80 = cuda::sm80;

// Few multiprocessors, so that keys are split into few parts.
std::atomic<int> processors = 2;
std::atomic<int> shared_kib = 227, architecture = 90;
std::atomic<bool> has_compiler = true;

cuda::Gpu gpu() {
  return {processors, shared_kib * 1024, architecture, nullptr,
          [](const cuda::Device*, int) { return has_compiler.load(); }};
}

std::atomic<std::int64_t> launches = 0, fast_launches = 0;

// A kernel's function in place of the one that a device has loaded.
template <class T>
void (*function_of(PlainKernel kernel, const cuda::Attention&))(const cuda::Attention&) {
  return kernel == PlainKernel::kForward ? plain::forward<T> : plain::probabilities<T>;
}

template <class T>
void (*function_of(PlainKernel kernel, const cuda::Backward&))(const cuda::Backward&) {
  switch (kernel) {
    case PlainKernel::kBackwardKeys:
      return plain::backward_keys<T>;
    case PlainKernel::kBackwardQuery:
      return plain::backward_query<T>;
    case PlainKernel::kBackwardBias:
      return plain::backward_bias<T>;
    case PlainKernel::kBackwardHeads:
      return plain::backward_heads<T>;
    default:
      return plain::backward_rows<T>;
  }
}

template <class T>
void (*function_of(PlainKernel, const cuda::Rotary&))(const cuda::Rotary&) {
  return plain::rotary;
}

template <class T>
void (*function_of(PlainKernel, const cuda::Append&))(const cuda::Append&) {
  return plain::append;
}

template <class T>
void (*function_of(PlainKernel, const cuda::Merge&))(const cuda::Merge&) {
  return plain::merge;
}

template <class T>
void (*function_of(PlainKernel, const cuda::Tables&))(const cuda::Tables&) {
  return plain::tables;
}

// Some blocks take several tasks.
template <class Arguments>
Status launch(const PlainChoice& choice, const Arguments& arguments, int64 tasks) {
  ++launches;
  if (tasks == 0) return {};
  const auto kernel = choice.is_double ? function_of<double>(choice.kernel, arguments)
                                       : function_of<float>(choice.kernel, arguments);
  const auto shared_bytes = static_cast<std::size_t>(variant_of(choice).dynamic_shared_bytes);
  emulator::run({core::ceil_div(tasks, 2), plain::kThreads, shared_bytes, architecture},
                [&] { kernel(arguments); });
  return {};
}

Status launch(const Sm80Forward& choice, const sm80::Forward& arguments, int64 tasks) {
  ++launches;
  ++fast_launches;
  if (tasks == 0) return {};
  const auto kernel = cuda::emulated_forward(choice.is_bfloat16, choice.number);
  const auto shared_bytes = cuda::emulated_forward_bytes(choice.number);
  emulator::run({tasks, choice.size().threads(), shared_bytes, architecture},
                [&] { kernel(arguments); });
  return {};
}

Status launch(const Sm80Merge&, const sm80::Forward& arguments, int64 tasks) {
  ++launches;
  if (tasks == 0) return {};
  emulator::run({tasks, sm80::kMergingThreads, 0, architecture}, [&] { sm80::merge(arguments); });
  return {};
}

Status launch(const cuda::Sm80Backward& choice, const sm80::Backward& arguments, int64 tasks) {
  ++launches;
  ++fast_launches;
  if (tasks == 0) return {};
  const cuda::Variant& variant = variant_of(choice);
  const auto kernel = cuda::emulated_backward(choice);
  // The kernel that plays a featured one needs the shared memory of all features.
  const bool is_played = choice.step == cuda::BackwardStep::kTiles && choice.features != 0;
  const auto shared_bytes = is_played ? cuda::emulated_backward_bytes(choice.number)
                                      : static_cast<std::size_t>(variant.dynamic_shared_bytes);
  // Kernels but those of tiles take any number of blocks. With half as many as tasks, blocks take
  // two.
  const int64 blocks = choice.step == cuda::BackwardStep::kTiles ? tasks : core::ceil_div(tasks, 2);
  emulator::run({blocks, variant.threads, shared_bytes, architecture}, [&] { kernel(arguments); });
  return {};
}

Status accepts(const Asked& asked, const Machine&) {
  const auto* merge = std::get_if<const MergeProblem*>(&asked);
  if (merge && (*merge)->parts > cuda::kMostParts) return unsupported("too many parts");
  return {};
}

// Rotary and append of the processor take no workspace, so their tables are read where they lie.
struct Decided {
  bool moves_tables;
  cuda::KernelChoice kernels;
};

Plan plan(const Asked& asked, const Machine& machine) {
  Plan plan;
  const bool moves = std::holds_alternative<const Problem*>(asked) || machine.device.kind != TW_CPU;
  const Decided decided{moves, cuda::choose_kernels(asked, gpu())};
  plan.choice.set(decided);
  plan.workspace_bytes = cuda::workspace_of(asked, decided.kernels, gpu()) +
                         (moves ? cuda::host_table_bytes(asked) : 0);
  plan.tile = {plain::kSide<float>, plain::kSide<float>};
  return plan;
}

Status run(const Asked& asked, const Plan& plan, const Resources& resources) {
  const auto decided = plan.choice.get<Decided>();
  const auto launch_one = [](const auto& choice, const auto& arguments, int64 tasks) {
    return launch(choice, arguments, tasks);
  };
  const auto run = [&](const Asked& call, std::byte* workspace) {
    return cuda::run_call(call, decided.kernels, {workspace, resources.error, gpu()}, launch_one);
  };
  if (!decided.moves_tables) return run(asked, resources.workspace);
  return cuda::with_tables_there(
      asked, resources.workspace,
      [&](const cuda::Tables& tables) { return cuda::run_tables(tables, launch_one); }, run);
}

void describe(const cuda::Sm80Backward& backward, Text& note) {
  const char* const kinds[] = {"common", "masked", "general", "few", "short", "featured"};
  const sm80::BackwardShape& tiles = backward.tiles();
  note.add("%s %d", kinds[static_cast<int>(tiles.kind)], tiles.dim);
  if (tiles.kind == sm80::BackwardKind::kShort) note.add(", %d keys", tiles.keys);
  if (backward.features != 0) note.add(": %s", cuda::feature_words(backward.features).c_str());
}

void describe(const Problem& problem, const Plan& plan, Text& note) {
  const cuda::KernelChoice kernels = plan.choice.get<Decided>().kernels;
  if (kernels.why_plain) return note.add("%s", kernels.why_plain);
  if (problem.operation == TW_BACKWARD) return describe(kernels.backward, note);
  constexpr const char* kKinds[] = {"common", "general", "short", "short general", "featured"};
  const sm80::Size& size = kernels.forward.size();
  note.add("%s %d", kKinds[static_cast<int>(size.kind)], size.dim);
  if (kernels.forward.features != 0) {
    note.add("%s: ", size.stages == 1 ? ", one stage" : "");
    note.add("%s", cuda::feature_words(kernels.forward.features).c_str());
  }
  if (kernels.forward.heads_in_tile > 1) note.add(", shared");
  if (kernels.forward.splits > 1)
    note.add(", split");
  else if (kernels.forward.merges)
    note.add(", merged");
}

constexpr Backend emulated_on(tw_device_kind device) {
  return {.name = "emulated",
          .device = device,
          .summary = "the GPU's kernels on the processor",
          .accepts = accepts,
          .plan = plan,
          .run = run,
          .describe = describe};
}

// For calls on the processor, and for those that say that they run on a device.
constexpr Backend kHere = emulated_on(TW_CPU), kThere = emulated_on(TW_CUDA);

}  // namespace

EmulatedBackend::EmulatedBackend() {
  static const std::array list{&kHere, &kThere, backends().front(), backends().back()};
  replace_backends(list);
}

EmulatedBackend::~EmulatedBackend() {
  replace_backends({});
}

std::int64_t emulated_launches() {
  return launches;
}

void set_emulated_compiler(bool is_there) {
  has_compiler = is_there;
}

void set_emulated_shared_kib(int kib) {
  shared_kib = kib;
}

void set_emulated_processors(int count) {
  processors = count;
}

void set_emulated_architecture(int number) {
  architecture = number;
}

std::int64_t emulated_fast_launches() {
  return fast_launches;
}

}  // namespace tilewise
