// The kernels of backward for tensor cores as the host knows them: which calls they take, by which
// variant, and what they get.
#pragma once

#include <algorithm>
#include <iterator>

#include "backends/cuda/kernels/sm80/backward_launch.h"
#include "backends/cuda/sm80_kernels.h"

namespace tilewise::cuda {

enum class BackwardStep { kRows, kTiles, kFinish };

// One of the kernels that a call launches. `number` is the place of the tiles among
// sm80::kBackwardShapes.
struct Sm80Backward {
  BackwardStep step = BackwardStep::kTiles;
  bool is_bfloat16 = false;
  int number = 0;
  core::uint32 features = 0;  // that are compiled in, where the row is one with features

  const sm80::BackwardShape& tiles() const { return sm80::kBackwardShapes[number]; }
};

// Of all of them that have no features compiled in: rows, finish, then the tiles of every shape,
// each in both types.
constexpr int number_of(const Sm80Backward& choice) {
  const int kernel = choice.step == BackwardStep::kRows     ? 0
                     : choice.step == BackwardStep::kFinish ? 1
                                                            : 2 + choice.number;
  return 2 * kernel + (choice.is_bfloat16 ? 1 : 0);
}
inline constexpr int kBackwardKernels = 2 * (2 + sm80::kVariantsOfBackward);

// What they lack for a backward call.
struct BackwardLack {
  const char* what = nullptr;  // in a few words; null: nothing, they can run it
  // Pointers have decided: the same call without data may lack nothing. Both need the workspace
  // that `sm80_backward_workspace` says.
  bool is_of_rows = false;
};

// `shared_bytes`: what a block of the device can have.
BackwardLack why_not_sm80_backward(const Problem& problem, int shared_bytes);

// What a common variant does not know, in a word or two; null where one serves.
const char* why_not_common_backward(const Problem& problem);

// The tiles of a call that they can run. `processors`: how many multiprocessors share them.
Sm80Backward sm80_backward(const Problem& problem, int shared_bytes, int processors);

// The kernel of the tiles that has what the call asks compiled in; false where there is none.
bool sm80_featured_backward(const Problem& problem, int shared_bytes, Featured& out);

// Bytes of the workspace, whatever pointers decide later.
int64 sm80_backward_workspace(const Problem& problem, int shared_bytes);

// What its kernels work with.
struct BackwardRoom {
  std::byte* workspace;
  core::uint32* error;
  int processors;
};

sm80::Backward sm80_backward_arguments(const Problem& problem, const Sm80Backward& choice,
                                       const BackwardRoom& room);

// launch(kernel, arguments, tasks) for each kernel of a call, until one is refused; its answer.
template <class Launch>
Status run_sm80_backward(const Problem& problem, const Sm80Backward& choice,
                         const BackwardRoom& room, const Launch& launch) {
  const sm80::Backward p = sm80_backward_arguments(problem, choice, room);
  const auto next = [&](BackwardStep step, int64 tasks) {
    return launch(Sm80Backward{step, choice.is_bfloat16, choice.number, choice.features}, p, tasks);
  };
  const sm80::FinishTasks finish = sm80::finish_tasks(p);
  const bool is_short = sm80::is_short(p);
  // One block at least clears what is added to.
  if (!is_short) TW_TRY(next(BackwardStep::kRows, std::max(sm80::row_tasks(p.shape), int64{1})));
  TW_TRY(next(BackwardStep::kTiles, sm80::key_tasks(p.shape, choice.tiles())));
  if (is_short && finish.heads == 0) return {};
  return next(BackwardStep::kFinish, finish.query + finish.bias + finish.heads);
}

}  // namespace tilewise::cuda
