// The backward pass, in steps. The steps over keys, queries and bias each recompute the scores and
// the weights' gradients, which costs two more matrix products for each of these steps after the
// first. In return no step stores the scores, so memory is linear, and no two tasks write the same
// number, so there are no atomics and the bits are the same every time.
#include "backends/plain/backward_bias.h"
#include "backends/plain/backward_keys.h"
#include "backends/plain/backward_rows.h"
#include "backends/plain/passes.h"

namespace tilewise::plain {
namespace {

template <class T>
class Backward {
 public:
  Backward(const Problem& problem, const Resources& resources)
      : p_(problem),
        parallel_(resources.parallel),
        arena_(aligned(resources.workspace)),
        sums_(problem, arena_),
        scratch_(aligned(resources.workspace) + arena_.used()) {}

  void run() const {
    over_rows([&](const Head<T>& head, Range rows, int64 tile, int32 worker) {
      auto mine = scratch<QueryScratch<T>>(worker);
      find_denominators(head, rows, sums_, mine.tile.scores, mine.own);
      find_delta(head, rows, tile, sums_);
    });
    const Gradients& wanted = p_.gradients;
    if (wanted.key || wanted.value) find_keys();
    if (wanted.query || wanted.slopes) find_queries();
    if (wanted.bias) find_bias();
    if (wanted.slopes) add_up(wanted.slopes, sums_.slopes);
    if (wanted.sinks) add_up(wanted.sinks, sums_.sinks);
  }

  // Scratch bytes of one worker. The passes run one after another and share them.
  static int64 worker_bytes(const Shape& shape) {
    return core::larger(
        scratch_bytes<QueryScratch<T>>(shape),
        core::larger(scratch_bytes<KeyScratch<T>>(shape), scratch_bytes<BiasScratch<T>>(shape)));
  }

 private:
  template <class Scratch>
  Scratch scratch(int32 worker) const {
    Arena arena(scratch_ + worker * worker_bytes(p_.shape));
    return Scratch(p_.shape, arena);
  }

  template <class Body>
  void over_rows(Body body) const {
    const Shape& shape = p_.shape;
    parallel_(shape.batch * shape.heads * sums_.tiles, [&](int64 n, int32 worker) {
      const Task task = task_at(n, shape.heads, sums_.tiles);
      const Head<T> head(p_, task.b, task.h);
      body(head, tile_range(task.tile, kTileRows, head.queries.length), task.tile, worker);
    });
  }

  void find_queries() const {
    over_rows([&](const Head<T>& head, Range rows, int64 tile, int32 worker) {
      auto mine = scratch<QueryScratch<T>>(worker);
      find_query_gradient(head, rows, tile, sums_, mine);
    });
  }

  void find_keys() const {
    const Shape& shape = p_.shape;
    const int64 tiles = core::ceil_div(shape.keys, kTileColumns);
    parallel_(shape.batch * shape.key_heads * tiles, [&](int64 n, int32 worker) {
      auto mine = scratch<KeyScratch<T>>(worker);
      find_key_gradients(p_, task_at(n, shape.key_heads, tiles), sums_, mine);
    });
  }

  void find_bias() const {
    const BiasGrid grid(p_.gradients.bias.size);
    parallel_(grid.tasks(), [&](int64 task, int32 worker) {
      auto mine = scratch<BiasScratch<T>>(worker);
      find_bias_gradient(p_, grid, task, sums_, mine);
    });
  }

  // Sums the parts of all row tiles, in order, into a gradient with one element a head or (batch,
  // head).
  void add_up(const View& to, const T* parts) const {
    const int64 batch = p_.shape.batch, heads = p_.shape.heads;
    for (int64 own = 0; own < to.size.batch; ++own) {
      const Range served = to.size.batch == 1 ? Range{0, batch} : Range{own, own + 1};
      for (int64 h = 0; h < heads; ++h) {
        T sum = 0;
        for (int64 b = served.begin; sums_.tiles > 0 && b < served.end; ++b)
          for (int64 t = 0; t < sums_.tiles; ++t) sum += parts[(b * heads + h) * sums_.tiles + t];
        store(to, to.offset(own, h, 0, 0), sum);
      }
    }
  }

  const Problem& p_;
  const Parallel& parallel_;
  Arena arena_;
  RowSums<T> sums_;
  std::byte* scratch_;
};

}  // namespace

template <class T>
int64 backward_workspace(const Problem& problem, int workers) {
  Arena arena(nullptr);
  const RowSums<T> counted(problem, arena);
  return kAlignmentRoom + arena.used() + workers * Backward<T>::worker_bytes(problem.shape);
}

template <class T>
void backward(const Problem& problem, const Resources& resources) {
  Backward<T>(problem, resources).run();
}

template int64 backward_workspace<float>(const Problem&, int);
template int64 backward_workspace<double>(const Problem&, int);
template void backward<float>(const Problem&, const Resources&);
template void backward<double>(const Problem&, const Resources&);

}  // namespace tilewise::plain
