// The bias's gradient. A task owns a tile of the bias, sums the gradients of all scores that the
// tile was added to, and writes the sum once, so scratch memory does not grow with the bias. The
// pass computes the scores' gradients again, which takes two products.
#include "backends/cpu/backward/differentiate.h"
#include "backends/cpu/backward/passes.h"
#include "backends/cpu/policy.h"

namespace tilewise::cpu {
namespace {

template <class T>
struct Scratch {
  Scratch(const Problem& p, const Kernels<T>& kernels, Arena& arena)
      : pitch(core::round_up(p.shape.dim, kernels.lanes)),
        value_pitch(core::round_up(p.shape.value_dim, kernels.lanes)),
        scores(p, kernels, arena),
        rows(p, kernels, arena) {
    const int64 lanes = kernels.pitch, tile = kTileKeys * lanes;
    list.at = arena.take<std::byte*>(core::larger(kTileKeys, lanes));
    key = arena.take<T>((kTileKeys + kKeysBeyond) * pitch);
    value = arena.take<T>((kTileKeys + kKeysBeyond) * value_pitch);
    query = arena.take<T>(lanes * pitch);
    output = arena.take<T>(lanes * value_pitch);
    numbers = {arena.take<T>(tile), arena.take<T>(tile), arena.take<T>(tile)};
    sum = arena.take<T>(tile);
  }

  int64 pitch, value_pitch;
  ScoreScratch<T> scores;
  BundleRows<T> rows;
  RowList list;
  T *key, *value;     // [key][dim]
  T *query, *output;  // [lane][dim]
  GradientTile<T> numbers;
  T* sum;  // [key][lane]
};

// A dimension of the bias, cut into tiles. serves(index, all) gives the indices, out of `all`, that
// tile `index` was added to: its own, or all where the bias has size 1.
struct Axis {
  Axis(int64 size, int64 tile) : broadcast(size == 1), tiles(core::ceil_div(size, tile)) {}

  Range serves(int64 index, int64 all) const {
    return broadcast ? Range{0, all} : Range{index, core::smaller(index + 1, all)};
  }

  bool broadcast;
  int64 tiles;
};

template <class T>
class BiasPass {
 public:
  BiasPass(const Problem& p, const Kernels<T>& kernels, const RowSums<T>& sums)
      : p_(p),
        kernels_(kernels),
        sums_(sums),
        size_(p.gradients.bias.size),
        batch_(size_.batch, 1),
        head_(size_.head, 1),
        row_(size_.row, kernels.pitch),
        column_(size_.column, kTileKeys) {}

  int64 tasks() const { return batch_.tiles * head_.tiles * row_.tiles * column_.tiles; }

  void run(int64 task, Scratch<T>& s) const {
    const int64 above = task / column_.tiles;
    const Axes own{above / row_.tiles / head_.tiles, above / row_.tiles % head_.tiles,
                   above % row_.tiles, task % column_.tiles};
    for (int64 n = 0; n < kTileKeys * kernels_.pitch; ++n) s.sum[n] = 0;
    walk(own, s);
    store(own, s);
  }

 private:
  void walk(Axes own, Scratch<T>& s) const {
    // A batch of empty sequences can be too large to loop over.
    if (p_.shape.queries == 0 || p_.shape.keys == 0) return;
    const Range batches = batch_.serves(own.batch, p_.shape.batch);
    const Range heads = head_.serves(own.head, p_.shape.heads);
    for (int64 b = batches.begin; b < batches.end; ++b)
      for (int64 h = heads.begin; h < heads.end; ++h) walk_head(Head<T>(p_, b, h), own, s);
  }

  void walk_head(const Head<T>& head, Axes own, Scratch<T>& s) const {
    const Range rows = row_.serves(own.row, core::ceil_div(head.queries.length, kernels_.pitch));
    const Range columns = column_.serves(own.column, core::ceil_div(head.keys.length, kTileKeys));
    for (int64 r = rows.begin; r < rows.end; ++r) {
      const QueryTile tile{head.b, head.h, 1, tile_range(r, kernels_.pitch, head.queries.length)};
      if (tile.rows.empty()) continue;
      bool loaded = false;
      for (int64 c = columns.begin; c < columns.end; ++c) {
        const Range keys = tile_range(c, kTileKeys, head.keys.length);
        if (keys.empty() || head.cover(tile.rows, keys) == Cover::kNone) continue;
        if (!loaded)
          s.rows.load({p_, kernels_, sums_}, tile, 0,
                      {s.list, {s.query, s.pitch}, {s.output, s.value_pitch}});
        loaded = true;
        add(head, tile, keys, s);
      }
    }
  }

  void add(const Head<T>& head, const QueryTile& tile, Range columns, Scratch<T>& s) const {
    const int64 padded = columns.size() + kKeysBeyond;
    load_operand(kernels_,
                 s.list.of_keys(p_.key, {p_.keys, head.keys, head.key_head}, columns, p_.shape.dim),
                 head.factor(p_.scaling.key), {s.key, s.pitch}, padded);
    load_operand(
        kernels_,
        s.list.of_keys(p_.value, {p_.keys, head.keys, head.key_head}, columns, p_.shape.value_dim),
        head.factor(p_.scaling.value), {s.value, s.value_pitch}, padded);
    differentiate<T>({p_, kernels_, sums_}, s.scores, s.rows,
                     {{columns, {s.key, s.pitch}}, {s.value, s.value_pitch}}, s.numbers);
    for (int64 j = 0; j < columns.size(); ++j)
      for (int64 lane = 0; lane < tile.lanes(); ++lane)
        s.sum[j * kernels_.pitch + lane] += s.numbers.gradient[j * kernels_.pitch + lane];
  }

  // Stores the tile's sum, reduced over the rows or columns that the bias was broadcast to.
  void store(Axes own, Scratch<T>& s) const {
    const int64 pitch = kernels_.pitch;
    const View& to = p_.gradients.bias;
    if (row_.broadcast)
      for (int64 j = 0; j < kTileKeys; ++j)
        for (int64 lane = 1; lane < pitch; ++lane) s.sum[j * pitch] += s.sum[j * pitch + lane];
    if (column_.broadcast)
      for (int64 j = 1; j < kTileKeys; ++j)
        for (int64 lane = 0; lane < pitch; ++lane) s.sum[lane] += s.sum[j * pitch + lane];
    const Range rows = tile_range(own.row, pitch, size_.row);
    const Range columns = tile_range(own.column, kTileKeys, size_.column);
    for (int64 i = rows.begin; i < rows.end; ++i)
      for (int64 j = columns.begin; j < columns.end; ++j)
        tilewise::store(to, to.offset(own.batch, own.head, i, j),
                        s.sum[(j - columns.begin) * pitch + i - rows.begin]);
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  const RowSums<T>& sums_;
  Axes size_;
  Axis batch_, head_, row_, column_;
};

}  // namespace

template <class T>
int64 bias_pass_scratch_bytes(const Problem& p, const Kernels<T>& kernels) {
  Arena counting(nullptr);
  const Scratch<T> counted(p, kernels, counting);
  return counting.used();
}

template <class T>
void find_bias_gradient(const Problem& p, const Kernels<T>& kernels, const RowSums<T>& sums,
                        const Workers& workers) {
  const BiasPass<T> pass(p, kernels, sums);
  workers.parallel(pass.tasks(), [&](int64 task, int32 worker) {
    Arena arena(workers.scratch(worker));
    Scratch<T> scratch(p, kernels, arena);
    pass.run(task, scratch);
  });
}

template int64 bias_pass_scratch_bytes<float>(const Problem&, const Kernels<float>&);
template int64 bias_pass_scratch_bytes<double>(const Problem&, const Kernels<double>&);
template void find_bias_gradient<float>(const Problem&, const Kernels<float>&,
                                        const RowSums<float>&, const Workers&);
template void find_bias_gradient<double>(const Problem&, const Kernels<double>&,
                                         const RowSums<double>&, const Workers&);

}  // namespace tilewise::cpu
