// Stores the unnormalised weights, for people who look at them: exp(score - the row's largest),
// negative where dropout drops. It walks the keys twice: the first walk finds the largest score.
#include "backends/cpu/passes.h"
#include "backends/cpu/policy.h"
#include "backends/cpu/scoring/scores.h"

namespace tilewise::cpu {
namespace {

template <class T>
struct Scratch {
  Scratch(const Problem& p, const Kernels<T>& kernels, Arena& arena)
      : pitch(core::round_up(p.shape.dim, kernels.lanes)),
        scores(p, kernels, arena),
        bundle(p, kernels, arena) {
    const int64 lanes = kernels.pitch;
    list.at = arena.take<std::byte*>(core::larger(kTileKeys, lanes));
    key = arena.take<T>((kTileKeys + kKeysBeyond) * pitch);
    rows = arena.take<T>(lanes * pitch);
    query = arena.take<T>(lanes * pitch);
    weights = arena.take<T>(kTileKeys * lanes);
    max = arena.take<T>(lanes);
  }

  int64 pitch;
  ScoreScratch<T> scores;
  Bundle<T> bundle;
  RowList list;
  T *key, *rows, *query;  // [key][dim], [lane][dim], [dim][lane]
  T* weights;             // [key][lane]
  T* max;                 // [lane]
};

template <class T>
class Probabilities {
 public:
  Probabilities(const Problem& p, const Kernels<T>& kernels, const QueryTile& tile, Scratch<T>& s)
      : p_(p), kernels_(kernels), tile_(tile), s_(s), head_(p, tile.b, tile.first_head) {}

  void run() {
    s_.bundle.place(p_, kernels_, tile_, 0);
    load_lanes(kernels_, s_.list.of_lanes(p_, p_.query, {tile_, 0, s_.bundle.count}, p_.shape.dim),
               head_.factor(p_.scaling.query), {s_.rows, s_.pitch}, kernels_.pitch);
    kernels_.rows.to_lanes({s_.rows, s_.pitch}, s_.pitch, s_.bundle.vectors, s_.query);
    for (int64 lane = 0; lane < kernels_.pitch; ++lane) s_.max[lane] = -core::infinity<T>();
    head_.for_each_key_tile(tile_.rows, kTileKeys, [&](Range columns) {
      const T* unit = score(columns);
      for (int64 lane = 0; lane < s_.bundle.count; ++lane)
        s_.max[lane] = core::running_max(s_.max[lane], s_.scores.largest[lane] * unit[lane]);
    });
    store_zeros();
    head_.for_each_key_tile(tile_.rows, kTileKeys, [&](Range columns) { store(columns); });
  }

 private:
  const T* score(Range columns) const {
    load_lanes(
        kernels_,
        s_.list.of_keys(p_.key, {p_.keys, head_.keys, head_.key_head}, columns, p_.shape.dim),
        head_.factor(p_.scaling.key), {s_.key, s_.pitch}, columns.size() + kKeysBeyond);
    return Scorer<T>(p_, kernels_, s_.scores)
        .score(tile_, s_.bundle, s_.query, {columns, {s_.key, s_.pitch}}, s_.weights);
  }

  // Stores the weights of a tile of keys. A hidden key (score -inf) has weight 0, never a negative
  // one.
  void store(Range columns) const {
    const int64 pitch = kernels_.pitch;
    const T* unit = score(columns);
    const T* keep = Scorer<T>(p_, kernels_, s_.scores).keep(tile_, s_.bundle, columns);
    const View& to = p_.output;
    for (int64 lane = 0; lane < tile_.lanes(); ++lane) {
      const int64 first = to.offset(tile_.b, tile_.first_head, tile_.row(lane), columns.begin);
      for (int64 j = 0; j < columns.size(); ++j) {
        const T at = s_.weights[j * pitch + lane];
        const T weight = core::exp2(at * unit[lane] - core::shift(s_.max[lane]));
        const bool drops = keep && keep[j * pitch + lane] == 0 && at != -core::infinity<T>();
        tilewise::store(to, first + j * to.stride.column, drops ? -weight : weight);
      }
    }
  }

  void store_zeros() const {
    const View& to = p_.output;
    for (int64 lane = 0; lane < tile_.lanes(); ++lane)
      for (int64 j = 0; j < head_.keys.length; ++j)
        tilewise::store(to, to.offset(tile_.b, tile_.first_head, tile_.row(lane), j), T(0));
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  const QueryTile& tile_;
  Scratch<T>& s_;
  Head<T> head_;
};

template <class T>
int64 scratch_bytes_of(const Problem& p, const Kernels<T>& kernels) {
  Arena counting(nullptr);
  const Scratch<T> counted(p, kernels, counting);
  return counting.used();
}

}  // namespace

template <class T>
Planned probabilities_plan(const Problem& p, int workers, Decided& decided) {
  const Kernels<T>& kernels = kernels_in<T>(*decided.isa);
  decided.scratch = scratch_bytes_of(p, kernels);
  return {{kernels.pitch, kTileKeys}, kAlignmentRoom + workers * decided.scratch};
}

template <class T>
void probabilities(const Problem& p, const Decided& decided, const Resources& resources) {
  const Kernels<T>& kernels = kernels_in<T>(*decided.isa);
  const int64 bytes = decided.scratch;
  std::byte* workspace = aligned(resources.workspace);
  for_each_query_tile(p, kernels.pitch, resources.parallel,
                      [&](const QueryTile& tile, int32 worker) {
                        Arena arena(workspace + worker * bytes);
                        Scratch<T> scratch(p, kernels, arena);
                        Probabilities<T>(p, kernels, tile, scratch).run();
                      });
}

template Planned probabilities_plan<float>(const Problem&, int, Decided&);
template Planned probabilities_plan<double>(const Problem&, int, Decided&);
template void probabilities<float>(const Problem&, const Decided&, const Resources&);
template void probabilities<double>(const Problem&, const Decided&, const Resources&);

}  // namespace tilewise::cpu
