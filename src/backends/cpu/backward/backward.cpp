// The backward pass, in steps: each row's denominator and delta; the gradients of keys, values and
// queries; then those of bias, slopes and sinks.
#include "backends/cpu/backward/decode_pass.h"
#include "backends/cpu/backward/key_pass.h"

namespace tilewise::cpu {
namespace {

template <class T>
class Backward {
 public:
  Backward(const Problem& p, const Decided& decided, std::byte* workspace)
      : p_(p),
        kernels_(kernels_for<T>(p, *decided.isa)),
        arena_(workspace),
        sums_(p, kernels_, arena_),
        keys_(p, kernels_, sums_, arena_, decided.task_tiles),
        decode_(p, kernels_, sums_),
        decodes_(decided.decodes),
        scratch_bytes_(decided.scratch),
        scratch_(workspace + decided.common) {}

  Tile tile() const { return decodes_ ? decode_.tile() : keys_.tile(); }
  int64 common_bytes() const { return arena_.used(); }

  // Scratch bytes of one worker. The passes run one after another and share them.
  int64 most_scratch_bytes() const {
    const int64 keys = decodes_ ? decode_.scratch_bytes() : keys_.scratch_bytes();
    const int64 bias = p_.gradients.bias ? bias_pass_scratch_bytes(p_, kernels_) : 0;
    return core::larger(core::larger(keys, row_pass_scratch_bytes(p_, kernels_)), bias);
  }

  void run(const Parallel& parallel) const {
    const Workers workers{parallel, scratch_, scratch_bytes_};
    const Gradients& wanted = p_.gradients;
    find_row_sums(p_, kernels_, sums_, workers);
    const bool by_row = p_.shape.queries > 0 && (wanted.query || wanted.slopes);
    if (by_row || wanted.key || wanted.value) decodes_ ? decode_.run(workers) : keys_.run(workers);
    if (wanted.bias) find_bias_gradient(p_, kernels_, sums_, workers);
    if (wanted.query && !decodes_) store_queries(workers);
    if (wanted.slopes) add_up(wanted.slopes, sums_.slope);
    if (wanted.sinks) add_up(wanted.sinks, sums_.sink);
  }

 private:
  void store_queries(const Workers& workers) const {
    for_each_query_tile(
        p_, kernels_.pitch, workers.parallel, [&](const QueryTile& tile, int32 worker) {
          Arena arena(workers.scratch(worker));
          const RowList list{arena.take<std::byte*>(kernels_.pitch)};
          T* factor = arena.take<T>(kernels_.pitch);
          for (int64 lane = 0; lane < kernels_.pitch; ++lane)
            factor[lane] = static_cast<T>(p_.scores.scale);
          const int64 row = sums_.first(tile.b, tile.first_head) + tile.rows.begin;
          store_lanes(kernels_,
                      list.of_lanes(p_, p_.gradients.query, {tile, 0, tile.lanes()}, p_.shape.dim),
                      factor, {sums_.query + row * sums_.pitch, sums_.pitch});
        });
  }

  // Sums the rows' parts, in order, into a gradient with one element a head or (batch, head).
  void add_up(const View& to, const T* parts) const {
    const int64 batch = p_.shape.batch;
    for (int64 own = 0; own < to.size.batch; ++own) {
      const Range served = to.size.batch == 1 ? Range{0, batch} : Range{own, own + 1};
      for (int64 h = 0; h < p_.shape.heads; ++h) {
        double sum = 0;
        for (int64 b = served.begin; p_.shape.queries > 0 && b < served.end; ++b) {
          const int64 rows = place_of(p_.queries, b).length;
          for (int64 i = 0; i < rows; ++i) sum += static_cast<double>(parts[sums_.first(b, h) + i]);
        }
        tilewise::store(to, to.offset(own, h, 0, 0), sum);
      }
    }
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  Arena arena_;
  RowSums<T> sums_;
  KeyPass<T> keys_;
  DecodePass<T> decode_;
  bool decodes_;
  int64 scratch_bytes_;  // of each worker
  std::byte* scratch_;
};

}  // namespace

template <class T>
Planned backward_plan(const Problem& problem, int workers, Decided& decided) {
  // An instruction set without kernels for few queries may name another set that has them.
  for (const Isa* isa : {decided.isa, decided.isa->decoder}) {
    if (!isa || decided.decodes || !decodes_backward(problem, kernels_for<T>(problem, *isa)))
      continue;
    decided.isa = isa;
    decided.decodes = true;
  }
  decided.task_tiles = task_tiles_of<T>(problem.shape, workers);
  const Backward<T> pass(problem, decided, nullptr);
  decided.common = pass.common_bytes();
  decided.scratch = pass.most_scratch_bytes();
  return {pass.tile(), kAlignmentRoom + decided.common + workers * decided.scratch};
}

template <class T>
void backward(const Problem& problem, const Decided& decided, const Resources& resources) {
  Backward<T>(problem, decided, aligned(resources.workspace)).run(resources.parallel);
}

template Planned backward_plan<float>(const Problem&, int, Decided&);
template Planned backward_plan<double>(const Problem&, int, Decided&);
template void backward<float>(const Problem&, const Decided&, const Resources&);
template void backward<double>(const Problem&, const Decided&, const Resources&);

}  // namespace tilewise::cpu
