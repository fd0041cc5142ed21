// The list of all kernels but featured ones, and the text from which each is compiled.
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
#include "backends/cuda/kernels/sm80/backward.h"
#include "backends/cuda/kernels/sm80/backward_finish.h"
#include "backends/cuda/kernels/sm80/backward_short.h"
#include "backends/cuda/kernels/sm80/forward.h"
#include "backends/cuda/kernels/sm80/merge.h"

namespace tilewise::cuda {
namespace {

// NOLINTBEGIN(bugprone-macro-parentheses): the macros concatenate string literals.
// A kernel's name, call, header, parameter type and shared memory.
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

// Forward on tensor cores: a row of the table in both dtypes; the name says which.
#define TW_SM80_FORWARD(name_, type, number)                                                    \
  {                                                                                             \
    .name = "tilewise_sm80_forward_" name_, .include = "backends/cuda/kernels/sm80/forward.h",  \
    .parameters = "const __grid_constant__ tilewise::cuda::sm80::Forward p",                    \
    .body = "using namespace tilewise::cuda; sm80::forward<sm80::Traits<DType::" #type          \
            ", " #number ">>(p);",                                                              \
    .threads = sm80::kTable[number].threads(), .blocks = sm80::kTable[number].blocks,           \
    .dynamic_shared_bytes = static_cast<int>(sizeof(sm80::Traits<DType::type, number>::Memory)) \
  }
#define TW_SM80_PAIR(number, size)                    \
  TW_SM80_FORWARD("float16_" size, kFloat16, number), \
      TW_SM80_FORWARD("bfloat16_" size, kBFloat16, number)
#define TW_SM80_MERGE                                                                         \
  {                                                                                           \
    .name = "tilewise_sm80_merge", .include = "backends/cuda/kernels/sm80/merge.h",           \
    .parameters = "const __grid_constant__ tilewise::cuda::sm80::Forward p",                  \
    .body = "tilewise::cuda::sm80::merge(p);", .threads = sm80::kMergingThreads, .blocks = 1, \
    .dynamic_shared_bytes = 0                                                                 \
  }
// Backward's first and last kernel (rows and finish), and the kernel of a shape. A shape is named
// by its largest head dim and by what is special about it.
#define TW_SM80_ROWS(name_, call, header, type)                                      \
  {                                                                                  \
    .name = "tilewise_sm80_" name_, .include = "backends/cuda/kernels/sm80/" header, \
    .parameters = "const __grid_constant__ tilewise::cuda::sm80::Backward p",        \
    .body = "tilewise::cuda::sm80::" call "<tilewise::cuda::DType::" #type ">(p);",  \
    .threads = sm80::kRowThreads, .blocks = 6,                                       \
    .dynamic_shared_bytes = static_cast<int>(sizeof(sm80::BackwardRowsMemory))       \
  }
#define TW_SM80_BACKWARD(name_, call, type, number)                                              \
  {                                                                                              \
    .name = "tilewise_sm80_backward_" name_, .include = "backends/cuda/kernels/sm80/" call ".h", \
    .parameters = "const __grid_constant__ tilewise::cuda::sm80::Backward p",                    \
    .body = "using namespace tilewise::cuda; sm80::" call "<sm80::BackwardTraits<DType::" #type  \
            ", " #number ">>(p);",                                                               \
    .threads = sm80::kBackwardShapes[number].threads(),                                          \
    .blocks = sm80::kBackwardShapes[number].blocks,                                              \
    .dynamic_shared_bytes =                                                                      \
        static_cast<int>(sizeof(sm80::BackwardTraits<DType::type, number>::Memory))              \
  }
#define TW_SM80_SHAPE(number, name_)                                \
  TW_SM80_BACKWARD("float16_" name_, "backward", kFloat16, number), \
      TW_SM80_BACKWARD("bfloat16_" name_, "backward", kBFloat16, number)
#define TW_SM80_SHORT(number, name_)                                      \
  TW_SM80_BACKWARD("float16_" name_, "backward_short", kFloat16, number), \
      TW_SM80_BACKWARD("bfloat16_" name_, "backward_short", kBFloat16, number)
// NOLINTEND(bugprone-macro-parentheses)

// In the order of index_of: plain kernels in the order of PlainKernel, with those that have no
// float and double form at the end; forward's table; the merge; backward's rows and finish, and its
// table of shapes. Featured rows of the tables are not listed here.
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
    TW_SM80_PAIR(0, "32"),
    TW_SM80_PAIR(1, "48"),
    TW_SM80_PAIR(2, "64"),
    TW_SM80_PAIR(3, "96"),
    TW_SM80_PAIR(4, "128"),
    TW_SM80_PAIR(5, "192"),
    TW_SM80_PAIR(6, "256"),
    TW_SM80_PAIR(7, "32_general"),
    TW_SM80_PAIR(8, "48_general"),
    TW_SM80_PAIR(9, "64_general"),
    TW_SM80_PAIR(10, "96_general"),
    TW_SM80_PAIR(11, "128_general"),
    TW_SM80_PAIR(12, "192_general"),
    TW_SM80_PAIR(13, "256_general"),
    TW_SM80_PAIR(14, "64_short_32"),
    TW_SM80_PAIR(15, "64_short_64"),
    TW_SM80_PAIR(16, "64_short_128"),
    TW_SM80_PAIR(17, "128_short_32"),
    TW_SM80_PAIR(18, "128_short_64"),
    TW_SM80_PAIR(19, "64_short_general"),
    TW_SM80_PAIR(20, "128_short_general"),
    TW_SM80_MERGE,
    TW_SM80_ROWS("backward_rows_float16", "backward_rows", "backward_rows.h", kFloat16),
    TW_SM80_ROWS("backward_rows_bfloat16", "backward_rows", "backward_rows.h", kBFloat16),
    TW_SM80_ROWS("backward_finish_float16", "backward_finish", "backward_finish.h", kFloat16),
    TW_SM80_ROWS("backward_finish_bfloat16", "backward_finish", "backward_finish.h", kBFloat16),
    TW_SM80_SHAPE(0, "48"),
    TW_SM80_SHAPE(1, "64"),
    TW_SM80_SHAPE(2, "96"),
    TW_SM80_SHAPE(3, "128_163k"),
    TW_SM80_SHAPE(4, "128"),
    TW_SM80_SHAPE(5, "192_163k"),
    TW_SM80_SHAPE(6, "256_227k"),
    TW_SM80_SHAPE(7, "256"),
    TW_SM80_SHAPE(8, "64_masked"),
    TW_SM80_SHAPE(9, "128_masked_227k"),
    TW_SM80_SHAPE(10, "128_masked_163k"),
    TW_SM80_SHAPE(11, "64_general"),
    TW_SM80_SHAPE(12, "128_general"),
    TW_SM80_SHAPE(13, "256_general_227k"),
    TW_SM80_SHAPE(14, "256_general_163k"),
    TW_SM80_SHAPE(15, "64_few"),
    TW_SM80_SHORT(16, "64_short_16"),
    TW_SM80_SHORT(17, "64_short_32"),
    TW_SM80_SHORT(18, "64_short_64"),
    TW_SM80_SHORT(19, "64_short_128"),
    TW_SM80_SHORT(20, "128_short_16"),
    TW_SM80_SHORT(21, "128_short_32"),
    TW_SM80_SHORT(22, "128_short_64"),
    TW_SM80_SHORT(23, "128_short_128"),
};
static_assert(std::size(kAll) == kVariants);

}  // namespace

std::span<const Variant> packed_variants() {
  return kAll;
}

}  // namespace tilewise::cuda
