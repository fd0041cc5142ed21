// The host's view of the tensor-core kernels for backward: which calls they can run, which variant
// runs them, and with which arguments.
#pragma once

#include <algorithm>
#include <iterator>

#include "backends/cuda/kernels/sm80/backward_launch.h"
#include "backends/cuda/sm80_kernels.h"

namespace tilewise::cuda {

enum class BackwardStep { kRows, kTiles, kFinish };

// One of the kernels that a call launches. `number` is the index of the tiles in
// sm80::kBackwardShapes.
struct Sm80Backward {
  BackwardStep step = BackwardStep::kTiles;
  bool is_bfloat16 = false;
  int number = 0;
  core::uint32 features = 0;  // compiled in, if the row is a featured one

  const sm80::BackwardShape& tiles() const { return sm80::kBackwardShapes[number]; }
};

// The index among the kernels that are not featured: rows, finish, then tiles of each shape, each
// in both dtypes.
constexpr int number_of(const Sm80Backward& choice) {
  const int kernel = choice.step == BackwardStep::kRows     ? 0
                     : choice.step == BackwardStep::kFinish ? 1
                                                            : 2 + choice.number;
  return 2 * kernel + (choice.is_bfloat16 ? 1 : 0);
}
inline constexpr int kBackwardKernels = 2 * (2 + sm80::kVariantsOfBackward);

// Why the tensor-core kernels cannot run a backward call.
struct BackwardLack {
  const char* what = nullptr;  // in a few words; null if they can run it
  // Whether no shape was found for the alignment of the rows at hand; with another alignment there
  // may be one. So a plan without data asks for the workspace that sm80_backward_workspace returns,
  // which suffices for any alignment.
  bool is_of_rows = false;
};

// `shared_bytes` is what a block of the device can have.
BackwardLack why_not_sm80_backward(const Problem& problem, int shared_bytes);

// Why a common variant cannot run the call, in a word or two; null if one can.
const char* why_not_common_backward(const Problem& problem);

// The tiles for a call that tensor cores can run. `processors` is the number of multiprocessors.
Sm80Backward sm80_backward(const Problem& problem, int shared_bytes, int processors);

// The featured kernel for the tiles of a call; false if there is none.
bool sm80_featured_backward(const Problem& problem, int shared_bytes, Featured& out);

// Bytes of the workspace that suffice for any alignment.
int64 sm80_backward_workspace(const Problem& problem, int shared_bytes);

// The memory and the GPU that the kernels work with.
struct BackwardRoom {
  std::byte* workspace;
  core::uint32* error;
  int processors;
};

sm80::Backward sm80_backward_arguments(const Problem& problem, const Sm80Backward& choice,
                                       const BackwardRoom& room);

// Calls launch(kernel, arguments, tasks) for each kernel of a call, and returns the first failure.
template <class Launch>
Status run_sm80_backward(const Problem& problem, const Sm80Backward& choice,
                         const BackwardRoom& room, const Launch& launch) {
  const sm80::Backward p = sm80_backward_arguments(problem, choice, room);
  const auto next = [&](BackwardStep step, int64 tasks) {
    return launch(Sm80Backward{step, choice.is_bfloat16, choice.number, choice.features}, p, tasks);
  };
  const sm80::FinishTasks finish = sm80::finish_tasks(p);
  const bool is_short = sm80::is_short(p);
  // The kernel of rows has at least one block, which clears the sums.
  if (!is_short) TW_TRY(next(BackwardStep::kRows, std::max(sm80::row_tasks(p.shape), int64{1})));
  TW_TRY(next(BackwardStep::kTiles, sm80::key_tasks(p.shape, choice.tiles())));
  if (is_short && finish.heads == 0) return {};
  return next(BackwardStep::kFinish, finish.query + finish.bias + finish.heads);
}

}  // namespace tilewise::cuda
