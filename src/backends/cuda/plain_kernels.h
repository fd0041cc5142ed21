// The host's view of the plain kernels: the list of them, and which of them a call launches in
// which order.
#pragma once

#include "backends/cuda/arguments.h"
#include "backends/cuda/compiler/variant.h"
#include "backends/cuda/kernels/plain/tables.h"
#include "plan/backend.h"
#include "problem/structs.h"

namespace tilewise::cuda {

enum class PlainKernel {
  kForward,
  kProbabilities,
  kBackwardRows,
  kBackwardKeys,
  kBackwardQuery,
  kBackwardBias,
  kBackwardHeads,
  kRotary,
  kAppend,
  kMerge,
  kTables
};
// A kernel in double or in float arithmetic. From kRotary on, kernels have one form only.
struct PlainChoice {
  PlainKernel kernel;
  bool is_double;
};

inline constexpr int kPlainVariants = 18;
// The kernel's index in packed_variants().
constexpr int index_of(const PlainChoice& choice) {
  const int kernel = static_cast<int>(choice.kernel),
            pairs = static_cast<int>(PlainKernel::kRotary);
  return kernel < pairs ? 2 * kernel + (choice.is_double ? 1 : 0) : pairs + kernel;
}

// Calls launch(kernel, arguments, tasks) for each kernel of a call, and returns the first failure.
template <class T, class Launch>
Status run_backward(const Problem& problem, const Attention& attention, std::byte* workspace,
                    const Launch& launch) {
  using namespace plain;
  constexpr bool kDouble = sizeof(T) == sizeof(double);
  Arena arena(aligned(workspace));
  const Backward p{attention, gradients_of(problem), row_sums_of<T>(problem, arena)};
  const Gradients& wanted = p.gradients;
  const auto next = [&](PlainKernel kernel, int64 tasks) {
    return launch(PlainChoice{kernel, kDouble}, p, tasks);
  };
  TW_TRY(next(PlainKernel::kBackwardRows, row_tasks<T>(attention.shape)));
  if (wanted.key || wanted.value)
    TW_TRY(next(PlainKernel::kBackwardKeys, key_gradient_tasks<T>(p)));
  if (wanted.query || wanted.slopes)
    TW_TRY(next(PlainKernel::kBackwardQuery, query_gradient_tasks<T>(p)));
  if (wanted.bias)
    TW_TRY(next(PlainKernel::kBackwardBias, bias_gradient_tasks<T>(wanted.bias_size)));
  if (wanted.slopes || wanted.sinks)
    TW_TRY(next(PlainKernel::kBackwardHeads, head_gradient_tasks(p)));
  return {};
}

template <class T, class Launch>
Status run_attention(const Problem& problem, std::byte* workspace, core::uint32* error,
                     const Launch& launch) {
  constexpr bool kDouble = sizeof(T) == sizeof(double);
  const Attention p = attention_of(problem, error);
  switch (problem.operation) {
    case TW_FORWARD:
      return launch(PlainChoice{PlainKernel::kForward, kDouble}, p, plain::forward_tasks<T>(p));
    case TW_BACKWARD:
      return run_backward<T>(problem, p, workspace, launch);
    case TW_PROBABILITIES:
      break;
  }
  return launch(PlainChoice{PlainKernel::kProbabilities, kDouble}, p, plain::row_tasks<T>(p.shape));
}

template <class Launch>
Status run_rotary(const RotaryProblem& problem, core::uint32* error, const Launch& launch) {
  const Rotary p = rotary_of(problem, error);
  return launch(PlainChoice{PlainKernel::kRotary, false}, p, p.batch * p.side.longest);
}

template <class Launch>
Status run_append(const AppendProblem& problem, core::uint32* error, const Launch& launch) {
  const Append p = append_of(problem, error);
  TW_TRY(launch(PlainChoice{PlainKernel::kAppend, false}, p, p.batch * p.fresh.longest));
  return problem.queries.output ? run_rotary(problem.queries, error, launch) : Status{};
}

template <class Launch>
Status run_merge(const MergeProblem& problem, const Launch& launch) {
  const Merge p = merge_of(problem);
  return launch(PlainChoice{PlainKernel::kMerge, false}, p, p.batch * p.heads * p.tokens);
}

// Copies tables from the host.
template <class Launch>
Status run_tables(const Tables& p, const Launch& launch) {
  return launch(PlainChoice{PlainKernel::kTables, false}, p, 1);
}

inline bool is_double(const Problem& problem) {
  return problem.query.dtype == DType::kFloat64;
}

// Calls `launch` for a call's kernels. If memory does not exist yet, `launch` must launch nothing.
template <class Launch>
Status run_plain(const Asked& asked, std::byte* workspace, core::uint32* error,
                 const Launch& launch) {
  return std::visit(Cases{[&](const Problem* p) {
                            return is_double(*p)
                                       ? run_attention<double>(*p, workspace, error, launch)
                                       : run_attention<float>(*p, workspace, error, launch);
                          },
                          [&](const RotaryProblem* p) { return run_rotary(*p, error, launch); },
                          [&](const AppendProblem* p) { return run_append(*p, error, launch); },
                          [&](const MergeProblem* p) { return run_merge(*p, launch); }},
                    asked);
}

// Bytes of the workspace that the plain kernels of a call need.
inline int64 plain_workspace(const Asked& asked) {
  const auto* attention = std::get_if<const Problem*>(&asked);
  if (!attention || (*attention)->operation != TW_BACKWARD) return 0;
  Arena arena(nullptr);
  if (is_double(**attention))
    row_sums_of<double>(**attention, arena);
  else
    row_sums_of<float>(**attention, arena);
  return kAlignmentRoom + arena.used();
}

}  // namespace tilewise::cuda
