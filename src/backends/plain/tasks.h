// How a pass is cut into tasks, and what each worker gets of the workspace.
#pragma once

#include "backends/plain/tile.h"
#include "plan/backend.h"

namespace tilewise::plain {

// Tile number `tile` of one head of one sequence.
struct Task {
  int64 b, h, tile;
};

// Task n, in the order of (batch, head, tile), later tiles first: under a causal mask these take
// longer, and a long task that starts last makes all workers wait.
inline Task task_at(int64 n, int64 heads, int64 tiles) {
  const int64 head = n / tiles;
  return {head / heads, head % heads, tiles - 1 - n % tiles};
}

// Bytes that `Scratch(shape, arena)` takes for one worker.
template <class Scratch>
int64 scratch_bytes(const Shape& shape) {
  Arena arena(nullptr);
  const Scratch counted(shape, arena);
  return arena.used();
}

// Bytes of workspace of a pass over tiles of queries, with `workers` threads of one Scratch each.
template <class Scratch>
int64 query_pass_workspace(const Problem& problem, int workers) {
  return kAlignmentRoom + workers * scratch_bytes<Scratch>(problem.shape);
}

// Calls body(head, rows, scratch) for every tile of queries of every head.
template <class T, class Scratch, class Body>
void for_each_query_tile(const Problem& problem, const Resources& resources, Body body) {
  const Shape& shape = problem.shape;
  const int64 tiles = core::ceil_div(shape.queries, kTileRows);
  const int64 bytes = scratch_bytes<Scratch>(shape);
  std::byte* workspace = aligned(resources.workspace);
  resources.parallel(shape.batch * shape.heads * tiles, [&](int64 n, int32 worker) {
    const Task task = task_at(n, shape.heads, tiles);
    const Head<T> head(problem, task.b, task.h);
    const Range rows = tile_range(task.tile, kTileRows, head.queries.length);
    if (rows.empty()) return;
    Arena arena(workspace + worker * bytes);
    Scratch scratch(shape, arena);
    body(head, rows, scratch);
  });
}

}  // namespace tilewise::plain
