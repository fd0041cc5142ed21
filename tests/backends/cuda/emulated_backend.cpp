#include "emulated_backend.h"

#include <array>
#include <atomic>

#include "backends/cuda/kernel_choice.h"
#include "backends/cuda/kernels/plain/backward_bias.h"
#include "backends/cuda/kernels/plain/backward_heads.h"
#include "backends/cuda/kernels/plain/backward_keys.h"
#include "backends/cuda/kernels/plain/backward_query.h"
#include "backends/cuda/kernels/plain/cache.h"
#include "backends/cuda/kernels/plain/forward.h"
#include "backends/cuda/kernels/plain/merge.h"
#include "backends/cuda/kernels/plain/probabilities.h"
#include "backends/cuda/kernels/simple/forward.h"
#include "emulator/emulator.h"

namespace tilewise {
namespace {

using cuda::PlainChoice;
using cuda::PlainKernel;
using cuda::SimpleChoice;
namespace plain = cuda::plain;
namespace simple = cuda::simple;

std::atomic<std::int64_t> launches = 0, simple_launches = 0;

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

// Some blocks take several tasks.
template <class Arguments>
Status launch(const PlainChoice& choice, const Arguments& arguments, int64 tasks) {
  ++launches;
  if (tasks == 0) return {};
  const auto kernel = choice.is_double ? function_of<double>(choice.kernel, arguments)
                                       : function_of<float>(choice.kernel, arguments);
  const auto shared_bytes = static_cast<std::size_t>(variant_of(choice).dynamic_shared_bytes);
  emulator::run({core::ceil_div(tasks, 2), plain::kThreads, shared_bytes},
                [&] { kernel(arguments); });
  return {};
}

using SimpleFunction = void (*)(const simple::Forward&);

template <core::DType type>
SimpleFunction function_of_dim(int number) {
  constexpr SimpleFunction kFunctions[] = {
      simple::forward<simple::Traits<type, 32>>, simple::forward<simple::Traits<type, 64>>,
      simple::forward<simple::Traits<type, 96>>, simple::forward<simple::Traits<type, 128>>};
  static_assert(std::size(kFunctions) == std::size(cuda::kSimpleDims));
  return kFunctions[number];
}

Status launch(const SimpleChoice& choice, const simple::Forward& arguments, int64 tasks) {
  ++launches;
  ++simple_launches;
  const SimpleFunction kernel = choice.is_bfloat16
                                    ? function_of_dim<core::DType::kBFloat16>(choice.dim_number)
                                    : function_of_dim<core::DType::kFloat16>(choice.dim_number);
  const auto shared_bytes = static_cast<std::size_t>(variant_of(choice).dynamic_shared_bytes);
  emulator::run({tasks, simple::kThreads, shared_bytes}, [&] { kernel(arguments); });
  return {};
}

Status accepts(const Asked& asked, const Machine&) {
  const auto* merge = std::get_if<const MergeProblem*>(&asked);
  if (merge && (*merge)->parts > cuda::kMostParts) return unsupported("too many parts");
  return {};
}

Plan plan(const Asked& asked, const Machine&) {
  const cuda::KernelChoice kernels = cuda::choose_kernels(asked);
  Plan plan;
  plan.workspace_bytes = cuda::workspace_of(asked, kernels);
  plan.choice.set(kernels);
  plan.tile = {plain::kSide<float>, plain::kSide<float>};
  return plan;
}

Status prepare(const Asked&, const Plan&, const Resources&) {
  return {};
}

Status run(const Asked& asked, const Plan& plan, const Resources& resources) {
  constexpr int kProcessors = 2;
  return cuda::run_call(asked, plan.choice.get<cuda::KernelChoice>(),
                        {resources.workspace, resources.error, kProcessors},
                        [](const auto& choice, const auto& arguments, int64 tasks) {
                          return launch(choice, arguments, tasks);
                        });
}

void describe(const Problem&, const Plan& plan, Text& note) {
  const char* why_plain = plan.choice.get<cuda::KernelChoice>().why_plain;
  note.add("%s", why_plain ? why_plain : "simple kernel");
}

double fast_bytes(const Machine&) {
  return 1e6;
}

double predict(const Problem&, const Plan&, const Work&, const Parallel&) {
  return 0;
}

constexpr Backend emulated_on(tw_device_kind device) {
  return {.name = "emulated",
          .device = device,
          .summary = "the GPU's kernels on the processor",
          .accepts = accepts,
          .plan = plan,
          .prepare = prepare,
          .run = run,
          .describe = describe,
          .fast_bytes = fast_bytes,
          .predict = predict};
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

std::int64_t emulated_simple_launches() {
  return simple_launches;
}

}  // namespace tilewise
