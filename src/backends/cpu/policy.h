// Sizes of tiles and tasks, chosen for speed; docs/kernels/cpu.md has the figures. Those that say
// how keys are cut into splits and tiles also decide in which order numbers are added up.
#pragma once

#include "core/base.h"

namespace tilewise::cpu {

using core::int64;

// How many rows of queries, or tiles of keys, a task takes. With `enough` of them the time to load
// the other side is small. A task takes up to `most` if each worker still gets `larger_tasks` and
// the task's working set fits into `near_bytes`.
struct TaskSize {
  int64 enough, most;
  int64 near_bytes;           // of the L2 cache
  int64 tasks, larger_tasks;  // that each worker must get, with `enough` and with more

  constexpr int64 most_of(int64 bytes_each) const {
    return core::larger(enough, core::smaller(most, near_bytes / bytes_each));
  }
};

// Queries of a forward task. Their rows of query and output stay in L2 while the task walks the
// keys. Under a causal mask tasks differ in length, so each worker must get more tasks.
inline constexpr TaskSize kQueryTasks{
    .enough = 384, .most = 1536, .near_bytes = 768 << 10, .tasks = 2, .larger_tasks = 6};
inline constexpr TaskSize kCausalQueryTasks{
    .enough = 384, .most = 1536, .near_bytes = 768 << 10, .tasks = 5, .larger_tasks = 6};

// Tiles of keys of a backward task. Keys, values and their gradients stay in L2 while the task
// walks the queries.
inline constexpr TaskSize kKeyTasks{
    .enough = 4, .most = 8, .near_bytes = 1 << 20, .tasks = 4, .larger_tasks = 8};

// With fewer forward tiles a worker than this, the last tile of each head is halved (halve_last).
inline constexpr int64 kTilesToHalve = 8;

// Forward splits the keys, which costs a merge, if there are fewer than `fewer_tiles` tiles of
// queries: into about `tasks` tasks of at least `least_keys` keys. The split changes bits, so it
// does not depend on the number of workers.
struct SplitPolicy {
  int64 fewer_tiles, tasks, least_keys;
};
inline constexpr SplitPolicy kSplits{.fewer_tiles = 32, .tasks = 64, .least_keys = 512};

// A tile of backward: `keys` keys and about `query_lanes` queries, in at most `most_bundles`
// bundles: the smallest bundles have three vectors of two doubles, and 96 lanes fill 16 of them.
struct BackwardTile {
  int64 keys, query_lanes, most_bundles;
};
inline constexpr BackwardTile kBackwardTile{.keys = 64, .query_lanes = 96, .most_bundles = 16};

// Keys of a tile in probabilities and in backward's passes over rows and over the bias. Forward's
// tiles have at least as many (Kernels::keys).
inline constexpr int64 kTileKeys = 128;

// Forward decodes if the instruction set has kernels for it and a tile has at most `queries`
// queries, no more than a vector has lanes. A task takes up to `key_heads` key heads whose rows are
// neighbours, so that memory is read in order. Backward decodes up to `backward_keys` keys
// (decodes_backward); KeyPass takes more.
struct DecodePolicy {
  int64 queries, key_heads, backward_keys;
};
inline constexpr DecodePolicy kDecode{.queries = 8, .key_heads = 8, .backward_keys = 1024};

}  // namespace tilewise::cpu
