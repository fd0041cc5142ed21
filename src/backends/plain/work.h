// How a pass is cut into tasks, and what each worker gets of the workspace.
#pragma once

#include "backends/plain/tile.h"
#include "parallel/parallel.h"

namespace tilewise::plain {

// One task: tile number `tile` of one head of one sequence.
struct Work {
  int64 b, h, tile;
};

// (batch, head, tile), later tiles first: under a causal mask those have more to do, and a long
// task that starts last keeps everyone waiting.
inline Work work_at(int64 task, int64 heads, int64 tiles) {
  const int64 head = task / tiles;
  return {head / heads, head % heads, tiles - 1 - task % tiles};
}

// What `Scratch(shape, arena)` takes for one worker.
template <class Scratch>
int64 scratch_bytes(const Shape& shape) {
  Arena arena(nullptr);
  const Scratch counted(shape, arena);
  return arena.used();
}

// Room to move the caller's workspace up to the arena's alignment, whatever address it has.
inline constexpr int64 kAlignmentRoom = Arena::kAlignment;

inline std::byte* aligned(std::byte* workspace) {
  const auto address = reinterpret_cast<std::uintptr_t>(workspace);
  const auto rest = address % Arena::kAlignment;
  return rest == 0 ? workspace : workspace + (Arena::kAlignment - rest);
}

}  // namespace tilewise::plain
