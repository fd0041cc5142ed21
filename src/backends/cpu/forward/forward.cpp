// The forward pass, by tiles or by decoding. With few queries and many keys, the keys are split
// over several tasks, whose partial results are merged in order of the keys.
#include "backends/cpu/forward/decode.h"
#include "backends/cpu/forward/tiles.h"
#include "backends/cpu/passes.h"

namespace tilewise::cpu {
namespace {

template <class T>
class Forward {
 public:
  Forward(const Problem& problem, const Decided& decided, std::byte* workspace)
      : p_(problem),
        kernels_(kernels_for<T>(problem, *decided.isa)),
        grid_(decided.grid),
        output_(p_, kernels_, grid_, parts_),
        scratch_bytes_(decided.scratch),
        scratch_(workspace + decided.common) {
    Arena arena(workspace);
    parts_.take(p_, grid_, arena);
  }

  void run(const Parallel& parallel) const {
    if (decodes(grid_, kernels_))
      run_tasks(ForwardDecode<T>(p_, kernels_, grid_, output_), parallel);
    else
      run_tasks(ForwardTiles<T>(p_, kernels_, grid_, output_), parallel);
    if (grid_.split.count > 1) merge(parallel);
  }

 private:
  template <class Tasks>
  void run_tasks(const Tasks& tasks, const Parallel& parallel) const {
    parallel(
        grid_.tasks(),
        [&](int64 task, int32 worker) {
          const int64 n = task / grid_.split.count * grid_.together;
          if (grid_.tile(p_, n).rows.empty()) return;
          Arena arena(scratch_ + worker * scratch_bytes_);
          typename Tasks::Scratch scratch(p_, kernels_, grid_, arena);
          tasks.run(n, task % grid_.split.count, scratch);
        },
        grid_.in_order());
  }

  void merge(const Parallel& parallel) const {
    parallel(grid_.tiles(), [&](int64 n, int32 worker) {
      const QueryTile tile = grid_.tile(p_, n);
      Arena arena(scratch_ + worker * scratch_bytes_);
      RowScratch<T> scratch(p_, kernels_, grid_, arena);
      for (int64 lane = 0; lane < tile.lanes(); ++lane) output_.merge(tile, n, lane, scratch);
    });
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  TaskGrid grid_;
  Parts<T> parts_;
  Output<T> output_;
  int64 scratch_bytes_;  // of each worker
  std::byte* scratch_;
};

template <class Scratch, class T>
int64 bytes_of_scratch(const Problem& p, const Kernels<T>& kernels, const TaskGrid& grid) {
  Arena counting(nullptr);
  const Scratch counted(p, kernels, grid, counting);
  return counting.used();
}

}  // namespace

template <class T>
Planned forward_plan(const Problem& problem, int workers, Decided& decided) {
  const Kernels<T>* kernels = &kernels_for<T>(problem, *decided.isa);
  decided.grid = task_grid_of(problem, *kernels, workers);
  // An instruction set without kernels for few queries may name another set that has them.
  if (const Isa* decoder = decided.isa->decoder; decoder && !kernels->decode.score) {
    const Kernels<T>& others = kernels_for<T>(problem, *decoder);
    const TaskGrid grid = task_grid_of(problem, others, workers);
    if (decodes(grid, others)) {
      kernels = &others;
      decided.isa = decoder;
      decided.grid = grid;
    }
  }
  const TaskGrid& grid = decided.grid;
  Arena common(nullptr);
  Parts<T>().take(problem, grid, common);
  decided.common = common.used();
  decided.scratch = decodes(grid, *kernels)
                        ? bytes_of_scratch<DecodeScratch<T>>(problem, *kernels, grid)
                        : bytes_of_scratch<TileScratch<T>>(problem, *kernels, grid);
  return {{grid.rows, kernels->keys}, kAlignmentRoom + decided.common + workers * decided.scratch};
}

template <class T>
void forward(const Problem& problem, const Decided& decided, const Resources& resources) {
  Forward<T>(problem, decided, aligned(resources.workspace)).run(resources.parallel);
}

template Planned forward_plan<float>(const Problem&, int, Decided&);
template Planned forward_plan<double>(const Problem&, int, Decided&);
template void forward<float>(const Problem&, const Decided&, const Resources&);
template void forward<double>(const Problem&, const Decided&, const Resources&);

}  // namespace tilewise::cpu
