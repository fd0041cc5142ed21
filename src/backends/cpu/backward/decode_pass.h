// Backward's pass over keys for few queries, as in decoding or a tiny call. A task owns a key head
// with all its keys and queries, so no task waits and no sums are shared. In products a vector
// holds columns of a row, not queries. Keys and values are read in place unless is_copied() says
// otherwise. Their gradients go straight to the caller's rows, unless no kernel writes their type.
#pragma once

#include <bit>

#include "backends/cpu/backward/differentiate.h"
#include "backends/cpu/backward/passes.h"
#include "backends/cpu/policy.h"

namespace tilewise::cpu {

template <class T>
bool decodes_backward(const Problem& p, const Kernels<T>& kernels) {
  const Shape& s = p.shape;
  const int64 most = core::smaller(kDecode.queries, kernels.lanes);
  return kernels.decode.store_gradient && !p.mask.blocks && s.keys <= kDecode.backward_keys &&
         s.queries <= most && s.batch * s.heads > 0 && s.group() * s.queries <= most;
}

// One side of the products: queries with keys, or gradients of output with values.
template <class T>
struct DecodeSide {
  DecodeSide(const Kernels<T>& kernels, int64 dim, Arena& arena)
      : pitch(core::round_up(dim, kernels.lanes)) {
    list.at = arena.take<std::byte*>(kernels.keys);
    rows = arena.take<T>(kernels.lanes * pitch);
    packed = arena.take<T>(kernels.lanes * pitch);
  }

  int64 pitch;
  RowList list;  // of keys or values
  T* rows;       // [lane][pitch]
  T* packed;     // rows in DecodeSteps' layout
  DecodeArgs<T> args;
};

template <class T>
struct DecodePassScratch {
  DecodePassScratch(const Problem& p, const Kernels<T>& kernels, Arena& arena)
      : scores(p, kernels, arena),
        bundle(p, kernels, arena),
        query(kernels, p.shape.dim, arena),
        output(kernels, p.shape.value_dim, arena) {
    const int64 tile = kernels.keys * kernels.pitch;
    const int64 widest = core::larger(query.pitch, output.pitch);
    for (T** lane : {&lanes.max, &lanes.inverse_sum, &lanes.delta, &lanes.slope})
      *lane = arena.take<T>(kernels.pitch);
    numbers = {arena.take<T>(tile), arena.take<T>(tile), nullptr};
    numbers.raw = p.scores.softcap > 0 ? arena.take<T>(tile) : numbers.gradient;
    copies = arena.take<T>(kRowsAtOnce * widest);
    sums = arena.take<T>(kernels.lanes * query.pitch);
    query_gradient = arena.take<T>(kernels.lanes * query.pitch);
    room.rows = arena.take<T>(kernels.keys * widest);
    factor = arena.take<T>(core::larger(kernels.keys, kernels.pitch));
    list.at = arena.take<std::byte*>(core::larger(kernels.keys, kernels.pitch));
    room.list.at = arena.take<std::byte*>(kernels.keys);
  }

  ScoreScratch<T> scores;
  Bundle<T> bundle;
  DecodeSide<T> query, output;
  struct {
    T *max, *inverse_sum, *delta, *slope;
  } lanes;                  // one a lane
  GradientTile<T> numbers;  // [key][lane]
  T *copies, *sums;         // see DecodeArgs
  T* query_gradient;        // [lane][dim]
  struct {
    T* rows;  // [key][dim]
    RowList list;
  } room;  // for gradients of types that no kernel writes
  T* factor;
  RowList list;
};

template <class T>
class DecodePass {
 public:
  DecodePass(const Problem& p, const Kernels<T>& kernels, const RowSums<T>& sums)
      : p_(p), kernels_(kernels), sums_(sums) {}

  Tile tile() const { return {core::larger(int64{1}, p_.shape.queries), kernels_.keys}; }

  int64 scratch_bytes() const {
    Arena counting(nullptr);
    const DecodePassScratch<T> counted(p_, kernels_, counting);
    return counting.used();
  }

  void run(const Workers& workers) const {
    const int64 heads = p_.shape.key_heads;
    workers.parallel(p_.shape.batch * heads, [&](int64 task, int32 worker) {
      Arena arena(workers.scratch(worker));
      DecodePassScratch<T> scratch(p_, kernels_, arena);
      run_head(task / heads, task % heads, scratch);
    });
  }

 private:
  using Scratch = DecodePassScratch<T>;

  void run_head(int64 b, int64 key_head, Scratch& s) const {
    const int64 group = p_.shape.group();
    const QueryTile tile{b, key_head * group, group, {0, place_of(p_.queries, b).length}};
    const Head<T> head(p_, b, tile.first_head);
    if (!tile.rows.empty()) begin(tile, key_head, s);
    for (int64 first = 0; first < head.keys.length; first += kernels_.keys) {
      const Range columns{first, core::smaller(first + kernels_.keys, head.keys.length)};
      const bool seen = !tile.rows.empty() && head.cover(tile.rows, columns) != Cover::kNone;
      const KeyHead keys{p_.keys, head.keys, key_head};
      if (seen) take(tile, keys, columns, s);
      store_keys(keys, columns, seen ? tile.lanes() : 0, s);
    }
    if (!tile.rows.empty()) store_queries(tile, s);
  }

  void begin(const QueryTile& tile, int64 key_head, Scratch& s) const {
    s.bundle.place(p_, kernels_, tile, 0);
    // Products read rows up to the next power of two, and lanes in whole vectors.
    const auto padded = static_cast<int64>(std::bit_ceil(static_cast<uint64>(tile.lanes())));
    const int64 lanes = s.bundle.vectors * kernels_.lanes;
    const auto args = [&](const View& rows, const View& scaling, DecodeSide<T>& side, T* scores) {
      const int64 dim = rows.size.column;
      side.args = {{nullptr, 0, dim, rows.dtype},
                   factor_of<T>(scaling, tile.b, key_head),
                   is_copied(rows, scaling, dim, kernels_),
                   tile.lanes(),
                   side.pitch,
                   side.packed,
                   scores,
                   kernels_.pitch,
                   s.copies};
    };
    const auto load = [&](const View& view, const View& scaling, DecodeSide<T>& side) {
      load_lanes(kernels_, s.list.of_lanes(p_, view, {tile, 0, tile.lanes()}, view.size.column),
                 factor_of<T>(scaling, tile.b, key_head), {side.rows, side.pitch}, padded);
      kernels_.decode.pack(side.args, side.rows);
    };
    args(p_.key, p_.scaling.key, s.query, s.numbers.weights);
    args(p_.value, p_.scaling.value, s.output, s.numbers.gradient);
    load(p_.query, p_.scaling.query, s.query);
    load(p_.gradients.output, p_.scaling.output_gradient, s.output);
    for (int64 lane = 0; lane < lanes; ++lane) {
      const bool held = lane < tile.lanes();
      const int64 row = held ? row_at(tile, lane) : 0;
      s.lanes.max[lane] = held ? sums_.max[row] : core::infinity<T>();
      s.lanes.inverse_sum[lane] = held ? sums_.inverse_sum[row] : T(0);
      s.lanes.delta[lane] = held ? sums_.delta[row] : T(0);
      s.lanes.slope[lane] = 0;
    }
    std::fill(s.query_gradient, s.query_gradient + tile.lanes() * s.query.pitch, T(0));
  }

  int64 row_at(const QueryTile& tile, int64 lane) const {
    return sums_.first(tile.b, tile.head(lane)) + tile.row(lane);
  }

  // Computes the weights and the scores' gradients of a tile of keys, and adds the tile's part to
  // the gradients of slopes and queries.
  void take(const QueryTile& tile, const KeyHead& keys, Range columns, Scratch& s) const {
    s.query.args.rows = s.query.list.of_keys(p_.key, keys, columns, p_.shape.dim);
    s.output.args.rows = s.output.list.of_keys(p_.value, keys, columns, p_.shape.value_dim);
    s.query.args.prefetch = {s.output.args.rows.at, columns.size(),
                             p_.shape.value_dim * core::bytes_of(p_.value.dtype)};
    const Scorer<T> scorer(p_, kernels_, s.scores);
    const ScoreTile<T> weights{s.numbers.weights, columns.size(), s.bundle.vectors};
    kernels_.decode.score({&s.query.args, 1});
    const T* unit = scorer.score_decoded(tile, s.bundle, columns, s.numbers.weights);
    kernels_.backward.weigh({weights, s.lanes.max, s.lanes.inverse_sum, unit});
    kernels_.decode.score({&s.output.args, 1});
    kernels_.backward.differentiate({weights, s.numbers.gradient, s.numbers.raw,
                                     scorer.keep(tile, s.bundle, columns),
                                     s.scores.softcap_derivative, s.lanes.delta});
    if (sums_.slope)
      kernels_.backward.add_slopes({{s.numbers.gradient, columns.size(), s.bundle.vectors},
                                    scorer.find_positions(tile, s.bundle, columns),
                                    s.lanes.slope});
    if (!p_.gradients.query) return;
    DecodeArgs<T> sums = s.query.args;
    sums.columns = s.sums;
    sums.scores = s.numbers.raw;
    sums.prefetch = {};
    std::fill(s.factor, s.factor + tile.lanes(), T(1));
    kernels_.decode.accumulate(sums, s.factor, s.query_gradient);
  }

  // Stores the gradients of keys and values, sums over `lanes` queries.
  void store_keys(const KeyHead& keys, Range columns, int64 lanes, Scratch& s) const {
    const auto put = [&](const View& to, const T* tile, const DecodeSide<T>& side, T factor) {
      if (!to) return;
      Rows rows = s.list.of_keys(to, keys, columns, to.size.column);
      const bool is_written = to.dtype == DType::kFloat32 || to.dtype == DType::kBFloat16 ||
                              to.dtype == DType::kFloat16;
      std::byte* const* at = rows.at;
      if (!is_written) rows = in_room(rows, side.pitch, s);
      kernels_.decode.store_gradient(
          {rows, factor, tile, kernels_.pitch, lanes, {side.rows, side.pitch}});
      if (is_written) return;
      std::fill(s.factor, s.factor + columns.size(), T(1));
      store_lanes(kernels_, {at, rows.count, rows.dim, to.dtype}, s.factor,
                  {s.room.rows, side.pitch});
    };
    put(p_.gradients.value, s.numbers.weights, s.output, T(1));
    put(p_.gradients.key, s.numbers.raw, s.query, static_cast<T>(p_.scores.scale));
  }

  // Rows like `rows`, but of float32 in scratch memory, for types that no kernel writes.
  static Rows in_room(const Rows& rows, int64 pitch, Scratch& s) {
    for (int64 r = 0; r < rows.count; ++r)
      s.room.list.at[r] = reinterpret_cast<std::byte*>(s.room.rows + r * pitch);
    return {s.room.list.at, rows.count, rows.dim, DType::kFloat32};
  }

  void store_queries(const QueryTile& tile, Scratch& s) const {
    for (int64 lane = 0; sums_.slope && lane < tile.lanes(); ++lane)
      sums_.slope[row_at(tile, lane)] = s.lanes.slope[lane];
    if (!p_.gradients.query) return;
    for (int64 lane = 0; lane < tile.lanes(); ++lane)
      s.factor[lane] = static_cast<T>(p_.scores.scale);
    store_lanes(kernels_,
                s.list.of_lanes(p_, p_.gradients.query, {tile, 0, tile.lanes()}, p_.shape.dim),
                s.factor, {s.query_gradient, s.query.pitch});
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  const RowSums<T>& sums_;
};

}  // namespace tilewise::cpu
