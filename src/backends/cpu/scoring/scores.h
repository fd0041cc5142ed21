// Computes the scores of a tile, from a bundle of queries and a range of keys to softmax's input.
#pragma once

#include <limits>

#include "backends/cpu/scoring/bias.h"

namespace tilewise::cpu {

// Whether every tile needs `map`: softcap, ALiBi or a bias change the scores, or the fast path,
// exp2(q.k * unit - max), cannot take the scale. It takes positive scales, because max comes from
// the largest q.k, and none so small or large that digits would be lost.
inline bool is_mapped(const Problem& p) {
  const double log2_scale = p.scores.scale * core::log2e<double>();
  const bool plain_scale = log2_scale > 1e-30 && log2_scale < 1e30;
  return p.scores.softcap > 0 || p.scores.slopes || p.scores.bias || !plain_scale;
}

template <class T>
struct ScoreScratch {
  ScoreScratch(const Problem& p, const Kernels<T>& kernels, Arena& arena)
      : bias(p, kernels, arena) {
    const int64 pitch = kernels.pitch, tile = kernels.keys * pitch;
    largest = arena.take<T>(pitch);
    begin = arena.take<T>(pitch);
    end = arena.take<T>(pitch);
    position = arena.take<T>(pitch);
    unit = arena.take<T>(pitch);
    if (p.scores.softcap > 0 && p.operation == TW_BACKWARD)
      softcap_derivative = arena.take<T>(tile);
    if (p.dropout.decide.active()) keep = arena.take<T>(tile);
  }

  BiasScratch<T> bias;
  T *largest, *begin, *end;         // [lane]
  T *position, *unit;               // [lane]
  T* softcap_derivative = nullptr;  // [key][lane]
  T* keep = nullptr;                // [key][lane]
};

// A tile's rows of keys, what to prefetch meanwhile, and the tile's ScoreTile::ends.
template <class T>
struct KeysAt {
  Range columns;
  Matrix<const T> rows;
  Prefetch prefetch = {};
  const int64* ends = nullptr;
};

template <class T>
class Scorer {
 public:
  Scorer(const Problem& problem, const Kernels<T>& kernels, ScoreScratch<T>& scratch)
      : p_(problem),
        kernels_(kernels),
        scratch_(scratch),
        bias_(problem, kernels, scratch.bias),
        mapped_(is_mapped(problem)),
        log2_scale_(static_cast<T>(problem.scores.scale * core::log2e<double>())) {}

  // Writes the scores of `keys` to `to` and each lane's largest to scratch.largest. Returns a unit
  // for each lane: score * unit is in units of log2.
  const T* score(const QueryTile& tile, const Bundle<T>& bundle, const T* query,
                 const KeysAt<T>& keys, T* to) const {
    ScoreArgs<T> args = args_of(bundle, keys.columns, to);
    args.key = keys.rows;
    args.query = query;
    args.prefetch = keys.prefetch;
    args.tile.ends = keys.ends;
    args.prefetch_bias = bias_.prefetch(tile, bundle, keys.columns);
    return finish(tile, bundle, keys.columns, args, kernels_.forward.score(args));
  }

  // score() for decoding, whose kernels have already written the raw scores to `to`.
  const T* score_decoded(const QueryTile& tile, const Bundle<T>& bundle, Range columns,
                         T* to) const {
    const ScoreArgs<T> args = args_of(bundle, columns, to);
    return finish(tile, bundle, columns, args, kernels_.decode.survey(args));
  }

  // The arguments of raise_one, for one query without a score map and without hidden keys.
  DecodeOneArgs<T> of_one(T* scores, int64 keys, const RunningRows<T>& row) const {
    return {scores, keys, log2_scale_, limit(), static_cast<T>(p_.scores.scale), row};
  }

  // The tile's dropout factors, [key][lane]: 0 or the keep scale. Null without dropout.
  const T* keep(const QueryTile& tile, const Bundle<T>& bundle, Range columns) const {
    const core::Dropout& decide = p_.dropout.decide;
    if (!decide.active()) return nullptr;
    const int64* base = p_.dropout.base;
    const core::PhiloxKey key = decide.key();
    kernels_.forward.drop({{key.word[0], key.word[1]},
                           static_cast<uint32>(tile.b + base[0]),
                           decide.threshold(),
                           columns.begin + base[3]},
                          {bundle.drop_row, bundle.drop_upper, bundle.drop_head},
                          static_cast<T>(decide.scale()),
                          {scratch_.keep, columns.size(), bundle.vectors});
    return scratch_.keep;
  }

  // The key on the diagonal for each lane, counted from the first of `columns`.
  const T* find_positions(const QueryTile& tile, const Bundle<T>& bundle, Range columns) const {
    const int64 diagonal = band_of(p_, tile.b).diagonal;
    for (int64 lane = 0; lane < bundle.vectors * kernels_.lanes; ++lane) {
      const int64 held = core::smaller(bundle.first + lane, tile.lanes() - 1);
      scratch_.position[lane] = static_cast<T>(tile.row(held) + diagonal - columns.begin);
    }
    return scratch_.position;
  }

 private:
  ScoreArgs<T> args_of(const Bundle<T>& bundle, Range columns, T* to) const {
    return {
        {}, nullptr, p_.shape.dim, {to, columns.size(), bundle.vectors}, scratch_.largest, limit(),
        {}, {}};
  }

  // The bound for a lane's largest score, on either side of 0, within which the fast path, weight =
  // exp2(score * unit - max), is safe. max is the largest product, rounded; the compiler may fuse
  // the product and the subtraction, so that this product is not rounded. Within the bound the two
  // differ by at most 1/2; far beyond, exp2 of their difference could overflow.
  T limit() const {
    constexpr T kExact = static_cast<T>(int64{1} << std::numeric_limits<T>::digits);
    return core::smaller(core::largest<T>() / 4, kExact / log2_scale_);
  }

  // Makes raw scores softmax's input: masks or maps them where needed. Returns the lanes' units.
  const T* finish(const QueryTile& tile, const Bundle<T>& bundle, Range columns,
                  const ScoreArgs<T>& args, bool unusual) const {
    const T* bias = bias_.load(tile, bundle, columns);
    std::fill(scratch_.unit, scratch_.unit + kernels_.pitch, log2_scale_);
    if (!mapped_) {
      const bool masked =
          bias || columns.begin < bundle.shared.begin || bundle.shared.end < columns.end;
      if (masked) unusual = kernels_.forward.mask(args, limits(bundle, columns, bias));
      if (!unusual) return scratch_.unit;
    }
    if (bundle.slope) find_positions(tile, bundle, columns);
    kernels_.forward.map({args.tile, limits(bundle, columns, bias), static_cast<T>(p_.scores.scale),
                          static_cast<T>(p_.scores.softcap), bundle.slope, scratch_.position,
                          scratch_.softcap_derivative, scratch_.largest,
                          mapped_ ? T(0) : args.limit, scratch_.unit});
    return scratch_.unit;
  }

  // The range of keys that each lane sees, counted from the first of `columns`.
  Limits<T> limits(const Bundle<T>& bundle, Range columns, const T* bias) const {
    const auto from_first = [&](int64 key) {
      return static_cast<T>(
          core::smaller(core::larger(key - columns.begin, int64{0}), columns.size()));
    };
    for (int64 lane = 0; lane < bundle.vectors * kernels_.lanes; ++lane) {
      scratch_.begin[lane] = from_first(bundle.begin[lane]);
      scratch_.end[lane] = from_first(bundle.end[lane]);
    }
    return {scratch_.begin, scratch_.end, bias};
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  ScoreScratch<T>& scratch_;
  Bias<T> bias_;
  bool mapped_;
  T log2_scale_;
};

}  // namespace tilewise::cpu
