// What a task of the forward pass has in scratch memory.
#pragma once

#include <bit>

#include "backends/cpu/forward/task_grid.h"
#include "backends/cpu/rows.h"

namespace tilewise::cpu {

// Lanes of a group's queries and output. Kernels for few queries take rows, of queries as many as
// the next power of two.
template <class T>
int64 lanes_of_group(const Cut& cut, const Kernels<T>& kernels) {
  if (!is_few(cut, kernels)) return kernels.pitch;
  return static_cast<int64>(std::bit_ceil(static_cast<uint64>(cut.lanes())));
}

template <class T>
struct ForwardScratch {
  ForwardScratch(const Problem& p, const Kernels<T>& kernels, const Cut& cut, Arena& arena)
      : scores(p, kernels, arena),
        dims{core::round_up(p.shape.dim, kernels.lanes),
             core::round_up(p.shape.value_dim, is_few(cut, kernels)
                                                   ? kernels.lanes
                                                   : core::larger(kernels.lanes, kPanel))},
        width(lanes_of_group(cut, kernels)),
        step(is_one(p, cut, kernels) ? 1 : kernels.pitch),
        room(kernels.keys * core::larger(step, int64{2})) {
    const int64 pitch = kernels.pitch, groups = core::larger(cut.groups, cut.together);
    const int64 lists = is_few(cut, kernels) ? cut.together : 1;
    rows.at = arena.take<std::byte*>(core::larger(lists * kernels.keys, pitch));
    ahead.at = arena.take<std::byte*>(core::larger(lists, int64{2}) * kernels.keys);
    row = arena.take<T>(pitch * core::larger(dims.key, dims.value));
    weights = arena.take<T>(lists * room);
    query = arena.take<T>(groups * dims.key * width);
    output = arena.take<T>(groups * dims.value * width);
    max = arena.take<T>(groups * pitch);
    sum = arena.take<T>(groups * pitch);
    factor = arena.take<T>(pitch);
    ends = arena.take<int64>(pitch / kernels.lanes);
    lanes = arena.take<Group<T>>(groups);
    for (int64 g = 0; g < groups; ++g) {
      const Group<T> group(p, kernels, arena);
      if (lanes) lanes[g] = group;
    }
    if (is_few(cut, kernels)) {
      few_keys = arena.take<FewArgs<T>>(lists);
      few_values = arena.take<FewArgs<T>>(lists);
      copies = arena.take<T>(kRowsAtOnce * core::larger(dims.key, dims.value));
      sums = arena.take<T>(kMostFew * dims.value);
    } else {
      key = arena.take<T>((kernels.keys + kKeysBeyond) * dims.key);
      value = arena.take<T>((kernels.keys + kKeysBeyond) * dims.value);
    }
  }

  RunningRows<T> running(int64 group, int64 pitch) const {
    return {max + group * pitch, sum + group * pitch, factor};
  }

  ScoreScratch<T> scores;
  struct {
    int64 key, value;
  } dims;       // rounded up to whole vectors
  int64 width;  // lanes of a group's queries and output
  int64 step;   // from a key's scores to the next one's
  int64 room;   // of a list's weights
  RowList rows, ahead;
  Range listed;                        // for few queries: the keys that `rows` are of
  T* row;                              // [lane][dim], rows on their way in or out
  T* weights;                          // [key][lane], of the group at hand; scores before
  T *query, *output;                   // [group][dim][lane]
  T *max, *sum;                        // [group][lane]
  T* factor;                           // [lane]
  int64* ends;                         // [vector], of the group at hand
  T *key = nullptr, *value = nullptr;  // [key][dim], unless keys are used in place; panels
  // For few queries, of which every group has weights of its own.
  T *copies = nullptr, *sums = nullptr;  // see FewArgs
  FewArgs<T>* few_keys = nullptr;
  FewArgs<T>* few_values = nullptr;
  Group<T>* lanes;  // [group]
};

// What the tasks of a split found: unnormalised rows of output, and their running rows.
template <class T>
struct Parts {
  void take(const Problem& p, const Cut& cut, Arena& arena) {
    if (cut.splits == 1) return;
    const int64 lanes = cut.tiles() * cut.lanes();
    output = arena.take<T>(lanes * cut.splits * p.shape.value_dim);
    row = arena.take<core::Row<T>>(lanes * cut.splits);
  }

  T* output = nullptr;          // [tile][split][lane][value_dim]
  core::Row<T>* row = nullptr;  // [tile][split][lane]
};

}  // namespace tilewise::cpu
