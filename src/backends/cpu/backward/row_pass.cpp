// Backward's first pass: finds each query row's denominator, delta and part of the sink's gradient,
// and clears the sums that later passes add to. Its tasks own rows.
#include "backends/cpu/backward/passes.h"
#include "backends/cpu/policy.h"
#include "backends/cpu/scoring/scores.h"

namespace tilewise::cpu {
namespace {

template <class T>
struct Scratch {
  Scratch(const Problem& p, const Kernels<T>& kernels, Arena& arena)
      : scores(p, kernels, arena),
        bundle(p, kernels, arena),
        pitch(core::round_up(p.shape.dim, kernels.lanes)),
        value_pitch(core::round_up(p.shape.value_dim, kernels.lanes)) {
    const int64 lanes = kernels.pitch;
    rows.at = arena.take<std::byte*>(core::larger(kTileKeys, lanes));
    output = arena.take<T>(lanes * value_pitch);
    gradient = arena.take<T>(lanes * core::larger(value_pitch, pitch));
    query = arena.take<T>(lanes * pitch);
    key = arena.take<T>((kTileKeys + kKeysBeyond) * pitch);
    weights = arena.take<T>(kTileKeys * lanes);
    running = {arena.take<T>(lanes), arena.take<T>(lanes), arena.take<T>(lanes)};
  }

  ScoreScratch<T> scores;
  Bundle<T> bundle;
  int64 pitch, value_pitch;
  RowList rows;
  T *output, *gradient;  // [lane][value_dim]
  T *query, *key;        // [dim][lane], [key][dim]
  T* weights;            // [key][lane]
  RunningRows<T> running;
};

// Whether lse is so large that its rounding error shows in weights computed from it.
bool is_coarse(const View& view, double lse) {
  const double place = view.dtype == DType::kFloat64 ? 0x1p-52 : 0x1p-23;
  return core::absolute(lse) * place > 0x1p-13 && core::absolute(lse) < core::infinity<double>();
}

template <class T>
class RowPass {
 public:
  RowPass(const Problem& p, const Kernels<T>& kernels, const RowSums<T>& sums)
      : p_(p), kernels_(kernels), sums_(sums) {}

  void run(const QueryTile& tile, Scratch<T>& s) const {
    s.bundle.place(p_, kernels_, tile, 0);
    find_denominators(tile, s);
    find_delta(tile, s);
    const int64 h = tile.first_head;
    for (int64 lane = 0; lane < tile.lanes(); ++lane) {
      const int64 n = sums_.first(tile.b, h) + tile.row(lane);
      for (int64 c = 0; sums_.query && c < sums_.pitch; ++c) sums_.query[n * sums_.pitch + c] = 0;
      if (sums_.slope) sums_.slope[n] = 0;
    }
  }

 private:
  T given(const Head<T>& head, int64 i) const {
    return load<T>(p_.lse, row_of(p_.queries, p_.lse, head.queries, head.h, i));
  }

  void put(const Head<T>& head, int64 i, core::Row<T> row) const {
    const int64 n = sums_.first(head.b, head.h) + i;
    // A row with sum 0 gets max infinity, so that its weights are 0, whatever its scores.
    sums_.max[n] = row.sum == 0 ? core::infinity<T>() : row.max;
    sums_.inverse_sum[n] = row.sum == 0 ? T(0) : 1 / row.sum;
  }

  // Finds denominators from lse. A coarse lse is too inexact: if 40 keys all score -1e9, float32
  // has no digits left for log 40. The sum is then computed again from the row's own keys, and used
  // if its lse is the one given; else the given lse is that of more keys, as after a merge.
  void find_denominators(const QueryTile& tile, Scratch<T>& s) const {
    const Head<T> head(p_, tile.b, tile.first_head);
    bool coarse = false;
    for (int64 lane = 0; lane < tile.lanes(); ++lane) {
      const T lse = given(head, tile.row(lane));
      put(head, tile.row(lane), core::row_of(lse));
      coarse = coarse || is_coarse(p_.lse, lse);
    }
    if (!coarse) return;
    sum_rows(head, tile, s);
    const core::Row<T> sink = core::row_of(head.sink());
    for (int64 lane = 0; lane < tile.lanes(); ++lane) {
      const T lse = given(head, tile.row(lane));
      const core::Row<T> own =
          core::merge(sink, core::Row<T>{s.running.max[lane], s.running.sum[lane]});
      const T apart = core::absolute(core::lse(own) - lse);
      const T place = core::absolute(lse) * T(p_.lse.dtype == DType::kFloat64 ? 0x1p-51 : 0x1p-22);
      if (is_coarse(p_.lse, lse) && apart <= place) put(head, tile.row(lane), own);
    }
  }

  // Computes the running rows again, from the tile's own keys.
  void sum_rows(const Head<T>& head, const QueryTile& tile, Scratch<T>& s) const {
    const Scorer<T> scorer(p_, kernels_, s.scores);
    const Bundle<T>& bundle = s.bundle;
    load_operand(kernels_, s.rows.of_lanes(p_, p_.query, {tile, 0, bundle.count}, p_.shape.dim),
                 head.factor(p_.scaling.query), {s.gradient, s.pitch},
                 bundle.vectors * kernels_.lanes);
    kernels_.rows.to_lanes({s.gradient, s.pitch}, s.pitch, bundle.vectors, s.query);
    for (int64 lane = 0; lane < kernels_.pitch; ++lane) {
      s.running.max[lane] = -core::infinity<T>();
      s.running.sum[lane] = 0;
    }
    head.for_each_key_tile(tile.rows, kTileKeys, [&](Range columns) {
      load_operand(
          kernels_,
          s.rows.of_keys(p_.key, {p_.keys, head.keys, head.key_head}, columns, p_.shape.dim),
          head.factor(p_.scaling.key), {s.key, s.pitch}, columns.size() + kKeysBeyond);
      const T* unit = scorer.score(tile, bundle, s.query, {columns, {s.key, s.pitch}}, s.weights);
      kernels_.forward.raise(
          {{s.weights, columns.size(), bundle.vectors}, s.scores.largest, unit, s.running});
    });
  }

  void find_delta(const QueryTile& tile, Scratch<T>& s) const {
    const Head<T> head(p_, tile.b, tile.first_head);
    const int64 count = tile.lanes();
    const View& through_lse = p_.gradients.lse;
    load_rows_of(p_.output, tile, T(1), s.output, s);
    load_rows_of(p_.gradients.output, tile, head.factor(p_.scaling.output_gradient), s.gradient, s);
    T* delta = sums_.delta + sums_.first(tile.b, tile.first_head) + tile.rows.begin;
    kernels_.backward.dot_rows({s.output, s.value_pitch}, {s.gradient, s.value_pitch}, count,
                               delta);
    const core::Row<T> sink = core::row_of(head.sink());
    for (int64 lane = 0; lane < count; ++lane) {
      const int64 i = tile.row(lane), n = sums_.first(tile.b, tile.first_head) + i;
      if (through_lse)
        delta[lane] -=
            load<T>(through_lse, row_of(p_.queries, through_lse, head.queries, head.h, i));
      if (!sums_.sink) continue;
      const T weight =
          sink.sum == 0 ? T(0) : core::exp2(sink.max - sums_.max[n]) * sums_.inverse_sum[n];
      sums_.sink[n] = -weight * delta[lane];
    }
  }

  void load_rows_of(const View& view, const QueryTile& tile, T factor, T* to, Scratch<T>& s) const {
    const int64 count = tile.lanes();
    load_lanes(kernels_, s.rows.of_lanes(p_, view, {tile, 0, count}, p_.shape.value_dim), factor,
               {to, s.value_pitch}, count);
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  const RowSums<T>& sums_;
};

}  // namespace

template <class T>
int64 row_pass_scratch_bytes(const Problem& p, const Kernels<T>& kernels) {
  Arena counting(nullptr);
  const Scratch<T> counted(p, kernels, counting);
  return counting.used();
}

template <class T>
void find_row_sums(const Problem& p, const Kernels<T>& kernels, const RowSums<T>& sums,
                   const Workers& workers) {
  for_each_query_tile(p, kernels.pitch, workers.parallel, [&](const QueryTile& tile, int32 worker) {
    Arena arena(workers.scratch(worker));
    Scratch<T> scratch(p, kernels, arena);
    RowPass<T>(p, kernels, sums).run(tile, scratch);
  });
}

template int64 row_pass_scratch_bytes<float>(const Problem&, const Kernels<float>&);
template int64 row_pass_scratch_bytes<double>(const Problem&, const Kernels<double>&);
template void find_row_sums<float>(const Problem&, const Kernels<float>&, const RowSums<float>&,
                                   const Workers&);
template void find_row_sums<double>(const Problem&, const Kernels<double>&, const RowSums<double>&,
                                    const Workers&);

}  // namespace tilewise::cpu
