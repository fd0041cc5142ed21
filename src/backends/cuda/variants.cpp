// The list of all kernels: what each is compiled from.
#include "backends/cuda/kernel_choice.h"
#include "backends/cuda/kernels/plain/backward_bias.h"
#include "backends/cuda/kernels/plain/backward_heads.h"
#include "backends/cuda/kernels/plain/backward_keys.h"
#include "backends/cuda/kernels/plain/backward_query.h"
#include "backends/cuda/kernels/plain/backward_rows.h"
#include "backends/cuda/kernels/plain/cache.h"
#include "backends/cuda/kernels/plain/forward.h"
#include "backends/cuda/kernels/plain/merge.h"
#include "backends/cuda/kernels/plain/probabilities.h"
#include "backends/cuda/kernels/plain/tables.h"
#include "backends/cuda/kernels/simple/forward.h"

namespace tilewise::cuda {
namespace {

// NOLINTBEGIN(bugprone-macro-parentheses): texts that lie side by side are one.
// A kernel's name, the function's call, its header, what it is given, its shared memory.
#define TW_PLAIN_KERNEL(name_, call, header, given, shared)                            \
  {                                                                                    \
    .name = "tilewise_plain_" name_, .include = "backends/cuda/kernels/plain/" header, \
    .parameters = "const __grid_constant__ tilewise::cuda::" given " p",               \
    .body = "tilewise::cuda::plain::" call "(p);", .threads = plain::kThreads,         \
    .blocks = plain::kLeastBlocks, .dynamic_shared_bytes = static_cast<int>(shared)    \
  }
// The same in float and in double arithmetic.
#define TW_PLAIN_PAIR(name_, header, given, memory)                                       \
  TW_PLAIN_KERNEL(name_ "_float", name_ "<float>", header, given, sizeof(memory<float>)), \
      TW_PLAIN_KERNEL(name_ "_double", name_ "<double>", header, given, sizeof(memory<double>))

// The simple kernel for a type and a head dim.
#define TW_SIMPLE_KERNEL(name_, type, dim)                                                     \
  {                                                                                            \
    .name = "tilewise_simple_forward_" name_ "_" #dim,                                         \
    .include = "backends/cuda/kernels/simple/forward.h",                                       \
    .parameters = "const __grid_constant__ tilewise::cuda::simple::Forward p",                 \
    .body = "using namespace tilewise::cuda; simple::forward<simple::Traits<DType::" #type     \
            ", " #dim ">>(p);",                                                                \
    .threads = simple::kThreads, .blocks = simple::kLeastBlocks,                               \
    .dynamic_shared_bytes = static_cast<int>(sizeof(simple::Traits<DType::type, dim>::Memory)) \
  }
// In both types.
#define TW_SIMPLE_PAIR(dim) \
  TW_SIMPLE_KERNEL("float16", kFloat16, dim), TW_SIMPLE_KERNEL("bfloat16", kBFloat16, dim)
// NOLINTEND(bugprone-macro-parentheses)

// In the order of PlainKernel; those that know no difference stand once, at the end. Then in that
// of kSimpleDims.
constexpr Variant kAll[] = {
    TW_PLAIN_PAIR("forward", "forward.h", "Attention", plain::ForwardMemory),
    TW_PLAIN_PAIR("probabilities", "probabilities.h", "Attention", plain::ProbabilitiesMemory),
    TW_PLAIN_PAIR("backward_rows", "backward_rows.h", "Backward", plain::RowsMemory),
    TW_PLAIN_PAIR("backward_keys", "backward_keys.h", "Backward", plain::BackwardMemory),
    TW_PLAIN_PAIR("backward_query", "backward_query.h", "Backward", plain::BackwardMemory),
    TW_PLAIN_PAIR("backward_bias", "backward_bias.h", "Backward", plain::BackwardMemory),
    TW_PLAIN_PAIR("backward_heads", "backward_heads.h", "Backward", plain::HeadsMemory),
    TW_PLAIN_KERNEL("rotary", "rotary", "cache.h", "Rotary", 0),
    TW_PLAIN_KERNEL("append", "append", "cache.h", "Append", 0),
    TW_PLAIN_KERNEL("merge", "merge", "merge.h", "Merge", sizeof(plain::MergeMemory)),
    TW_PLAIN_KERNEL("tables", "tables", "tables.h", "Tables", 0),
    TW_SIMPLE_PAIR(32),
    TW_SIMPLE_PAIR(64),
    TW_SIMPLE_PAIR(96),
    TW_SIMPLE_PAIR(128),
};
static_assert(std::size(kAll) == kVariants);

}  // namespace

std::span<const Variant> packed_variants() {
  return kAll;
}

}  // namespace tilewise::cuda
