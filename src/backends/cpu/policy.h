// How work is cut into tiles and tasks: what measuring has found, in one table. Speed alone depends
// on it, but for kSplits, which decides in which order numbers are added up. docs/kernels/cpu.md
// has the figures.
#pragma once

#include "core/base.h"

namespace tilewise::cpu {

using core::int64;

// How much of the side that it owns a task takes. `enough` is worth loading the other side for.
// More is taken where many tasks remain, as long as what stays near for it has room.
struct TaskSize {
  int64 enough, most;
  int64 near_bytes;           // of the second cache
  int64 tasks, larger_tasks;  // that each worker must get, of `enough` and of more

  constexpr int64 most_of(int64 bytes_each) const {
    return core::larger(enough, core::smaller(most, near_bytes / bytes_each));
  }
};

// Queries of a forward task: their rows of query and output stay near while keys go by. Under a
// causal mask tasks differ in length, and more of them even that out.
inline constexpr TaskSize kQueryTasks{
    .enough = 384, .most = 1536, .near_bytes = 768 << 10, .tasks = 2, .larger_tasks = 6};
inline constexpr TaskSize kCausalQueryTasks{
    .enough = 384, .most = 1536, .near_bytes = 768 << 10, .tasks = 5, .larger_tasks = 6};

// Tiles of keys of a backward task: keys, values and their gradients stay near while queries go by.
inline constexpr TaskSize kKeyTasks{
    .enough = 4, .most = 8, .near_bytes = 1 << 20, .tasks = 4, .larger_tasks = 8};

// With fewer forward tiles a worker the last one of each head becomes two.
inline constexpr int64 kTilesToHalve = 8;

// Splits of the keys are worth their merging where there are few tiles of queries, and only so many
// tasks are wanted, of no fewer keys. They look at shapes alone, never at the number of workers.
struct SplitPolicy {
  int64 fewer_tiles, tasks, least_keys;
};
inline constexpr SplitPolicy kSplits{.fewer_tiles = 32, .tasks = 64, .least_keys = 512};

// A tile of backward: so many keys, and about so many queries. They are so many bundles, at most,
// where a register has two lanes and a bundle three registers.
struct BackwardTile {
  int64 keys, query_lanes, most_bundles;
};
inline constexpr BackwardTile kBackwardTile{.keys = 64, .query_lanes = 96, .most_bundles = 16};

// Keys that all other passes beside forward work on at once; a tile of forward has no fewer.
inline constexpr int64 kTileKeys = 128;

// Decoding: so many queries, at most, take their keys and values row by row, and no more than a
// vector has lanes. Key heads whose rows lie side by side are taken together, for memory likes to
// be read in its own order. In backward so many keys of a head, at most: more are handed out in
// ranges, by the pass that takes turns.
struct DecodePolicy {
  int64 queries, key_heads, backward_keys;
};
inline constexpr DecodePolicy kDecode{.queries = 8, .key_heads = 8, .backward_keys = 1024};

}  // namespace tilewise::cpu
