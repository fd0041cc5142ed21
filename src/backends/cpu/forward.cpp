// The forward pass. A task takes a tile of queries and walks its keys, tile by tile: score, mask,
// raise, accumulate. With few queries and many keys, as in decoding, the keys are split over
// several tasks, and what those found is merged in their order.
#include "backends/cpu/forward_scratch.h"
#include "backends/cpu/passes.h"

namespace tilewise::cpu {
namespace {

template <class T>
class Forward {
 public:
  Forward(const Problem& problem, const Decided& decided, std::byte* workspace)
      : p_(problem),
        kernels_(kernels_for<T>(problem, *decided.isa)),
        cut_(decided.cut),
        few_(is_few(cut_, kernels_)),
        one_(is_one(p_, cut_, kernels_)),
        scratch_bytes_(decided.scratch),
        scratch_(workspace + decided.common) {
    Arena arena(workspace);
    parts_.take(p_, cut_, arena);
  }

  void run(const Parallel& parallel) const {
    parallel(
        cut_.tasks(),
        [&](int64 task, int32 worker) {
          const int64 first = task / cut_.splits * cut_.together, split = task % cut_.splits;
          const QueryTile tile = cut_.tile(p_, first);
          if (tile.rows.empty()) return;
          Arena arena(scratch_ + worker * scratch_bytes_);
          ForwardScratch<T> scratch(p_, kernels_, cut_, arena);
          if (!few_) {
            attend(tile, cut_.keys_of_split(split), scratch);
            return finish(tile, task, 0, scratch);
          }
          attend_few(tile, cut_.keys_of_split(split), scratch);
          for (int64 g = 0; g < cut_.together; ++g)
            finish(beside(tile, g), (first + g) * cut_.splits + split, g, scratch);
        },
        cut_.in_order());
    if (cut_.splits == 1) return;
    parallel(cut_.tiles(), [&](int64 task, int32 worker) {
      const QueryTile tile = cut_.tile(p_, task);
      Arena arena(scratch_ + worker * scratch_bytes_);
      ForwardScratch<T> scratch(p_, kernels_, cut_, arena);
      for (int64 lane = 0; lane < tile.lanes(); ++lane) merge(tile, task, lane, scratch);
    });
  }

 private:
  // The tile of the key head that is `g` heads further.
  QueryTile beside(const QueryTile& tile, int64 g) const {
    return {tile.b, tile.first_head + g * p_.shape.group(), tile.heads, tile.rows};
  }

  // Of key heads with one plain query each, what is known of the first holds for all.
  const Group<T>& group_of(int64 g, const ForwardScratch<T>& s) const {
    return s.lanes[one_ ? 0 : g];
  }

  void load_query(const QueryTile& tile, const Group<T>& group, int64 g,
                  ForwardScratch<T>& s) const {
    const Rows rows = s.rows.of_lanes(p_, p_.query, {tile, group.first, group.count}, p_.shape.dim);
    const T factor = factor_of<T>(p_.scaling.query, tile.b, tile.first_head / p_.shape.group());
    if (few_) {
      load_lanes(kernels_, rows, factor, {s.row, s.dims.key}, s.width);
      return kernels_.pack_few(s.few_keys[g], s.row);
    }
    load_operand(kernels_, rows, factor, {s.row, s.dims.key}, group.vectors * kernels_.lanes);
    kernels_.to_lanes({s.row, s.dims.key}, s.dims.key, group.vectors, query_of(g, s));
  }

  // A power of two would put all panels' rows of a key into one set of the cache.
  int64 panel_keys() const { return kernels_.keys + 2; }

  T* query_of(int64 g, const ForwardScratch<T>& s) const {
    return s.query + g * s.dims.key * s.width;
  }
  T* output_of(int64 g, const ForwardScratch<T>& s) const {
    return s.output + g * s.dims.value * s.width;
  }

  // Keys where they lie, if `score` can take them so; or a copy.
  Matrix<const T> load_keys(const KeyHead& head, Range columns, ForwardScratch<T>& s) const {
    const Matrix<const T> there = keys_in_place(p_, kernels_, head, columns);
    if (there.data) return there;
    load_operand(kernels_, s.rows.of_keys(p_.key, head, columns, p_.shape.dim),
                 factor_of<T>(p_.scaling.key, head.place.sequence, head.head), {s.key, s.dims.key},
                 columns.size() + kKeysBeyond);
    return {s.key, s.dims.key};
  }

  void load_values(const KeyHead& head, Range columns, ForwardScratch<T>& s) const {
    kernels_.load_panels(s.rows.of_keys(p_.value, head, columns, p_.shape.value_dim),
                         factor_of<T>(p_.scaling.value, head.place.sequence, head.head), s.value,
                         panel_keys(), s.row);
  }

  // Group g begins: lanes of the tile from `first` on, which have seen nothing yet.
  void begin(const QueryTile& tile, int64 first, int64 g, ForwardScratch<T>& s) const {
    const int64 pitch = kernels_.pitch;
    if (g == 0 || !one_) s.lanes[g].place(p_, kernels_, tile, first);
    load_query(tile, group_of(g, s), g, s);
    for (int64 n = 0; n < pitch; ++n) {
      s.max[g * pitch + n] = -core::infinity<T>();
      s.sum[g * pitch + n] = 0;
    }
    std::fill(output_of(g, s), output_of(g, s) + s.width * s.dims.value, T(0));
  }

  // Walks the keys of `split` for all groups of the tile.
  void attend(const QueryTile& tile, Range split, ForwardScratch<T>& s) const {
    const int64 groups = core::ceil_div(tile.lanes(), kernels_.pitch);
    for (int64 g = 0; g < groups; ++g) begin(tile, g * kernels_.pitch, g, s);
    const Head<T> head(p_, tile.b, tile.first_head);
    const KeyHead of{p_.keys, head.keys, head.key_head};
    const int64 last = core::smaller(head.band.keys_of(tile.rows).end, split.end);
    head.for_each_key_tile(tile.rows, kernels_.keys, [&](Range whole) {
      const Range columns = core::intersect(whole, split);
      if (columns.empty()) return;
      const Matrix<const T> keys = load_keys(of, columns, s);
      load_values(of, columns, s);
      const Range next{whole.end, core::smaller(whole.end + kernels_.keys, last)};
      const Ahead ahead = rows_ahead(tile, next, s);
      for (int64 g = 0; g < groups; ++g) {
        // Whole blocks of keys, counted from the tile's first.
        Range seen = core::intersect(columns, s.lanes[g].seen);
        seen.begin = columns.begin + (seen.begin - columns.begin) / kRowStep * kRowStep;
        if (seen.empty()) continue;
        const int64 skipped = seen.begin - columns.begin;
        const Matrix<const T> rows{keys.data + skipped * keys.pitch, keys.pitch};
        s.lanes[g].find_ends(kernels_, seen, s.ends);
        take(tile, g, skipped, {seen, rows, ahead.share(g, groups), s.ends}, s);
      }
    });
  }

  // Keys and values of the tile after this one.
  Ahead rows_ahead(const QueryTile& tile, Range columns, const ForwardScratch<T>& s) const {
    if (columns.empty()) return {};
    const int64 key_head = tile.first_head / p_.shape.group();
    const Place place = place_of(p_.keys, tile.b);
    const RowList values{s.ahead.at + columns.size()};
    s.ahead.of_keys(p_.key, {p_.keys, place, key_head}, columns, p_.shape.dim);
    values.of_keys(p_.value, {p_.keys, place, key_head}, columns, p_.shape.value_dim);
    return {s.ahead.at, 2 * columns.size(),
            core::larger(p_.shape.dim, p_.shape.value_dim) * core::bytes_of(p_.key.dtype)};
  }

  // What group g sees of a tile of keys, of which it skips the first ones.
  void take(const QueryTile& tile, int64 g, int64 skipped, const KeysAt<T>& keys,
            ForwardScratch<T>& s) const {
    const Scorer<T> scorer(p_, kernels_, s.scores);
    const Group<T>& group = s.lanes[g];
    const T* query = query_of(g, s);
    const T* unit = scorer.score(tile, group, query, keys, s.weights);
    const ScoreTile<T> weights{s.weights, keys.columns.size(), group.vectors, keys.ends};
    const RunningRows<T> rows = s.running(g, kernels_.pitch);
    kernels_.raise({weights, s.scores.largest, unit, rows, scorer.keep(tile, group, keys.columns)});
    kernels_.accumulate({s.value, panel_keys(), core::round_up(p_.shape.value_dim, kPanel), skipped,
                         weights, rows.factor, output_of(g, s)});
  }

  // Walks the keys of `split` for a few queries of each of the key heads that are taken together.
  void attend_few(const QueryTile& tile, Range split, ForwardScratch<T>& s) const {
    for (int64 g = 0; g < cut_.together; ++g) {
      place_few(beside(tile, g), g, s);
      begin(beside(tile, g), 0, g, s);
    }
    const Head<T> head(p_, tile.b, tile.first_head);
    const Range seen = head.band.keys_of(tile.rows);
    // One query takes no key that it does not see, so none has to be hidden from it.
    const Range keys = one_ ? core::intersect(split, seen) : split;
    head.for_each_key_tile(tile.rows, kernels_.keys, [&](Range whole) {
      const Range columns = core::intersect(whole, keys);
      const Range next = core::intersect({whole.end, whole.end + kernels_.keys}, split);
      if (!columns.empty()) take_few(tile, columns, core::intersect(next, seen), s);
    });
  }

  // What all tiles of keys have in common for group g, and its queries are packed by.
  void place_few(const QueryTile& tile, int64 g, ForwardScratch<T>& s) const {
    const int64 key_head = tile.first_head / p_.shape.group();
    const auto args = [&](const View& view, const View& scaling, int64 dim, int64 pitch,
                          T* columns) {
      return FewArgs<T>{{nullptr, 0, dim, view.dtype},
                        factor_of<T>(scaling, tile.b, key_head),
                        is_copied(view, scaling, dim, kernels_),
                        tile.lanes(),
                        pitch,
                        columns,
                        s.weights + g * s.room,
                        s.step,
                        s.copies};
    };
    s.few_keys[g] = args(p_.key, p_.scaling.key, p_.shape.dim, s.dims.key, query_of(g, s));
    s.few_values[g] = args(p_.value, p_.scaling.value, p_.shape.value_dim, s.dims.value, s.sums);
  }

  // A tile of keys for the few queries of all groups. Values come nearer while keys are read, and
  // keys of the `next` tile while values are: memory is always asked for something. A tile that is
  // all there is is over too soon for that.
  void take_few(const QueryTile& tile, Range columns, Range next, ForwardScratch<T>& s) const {
    const Place place = place_of(p_.keys, tile.b);
    const bool is_only = next.empty() && s.listed.empty();
    const auto key_head = [&](int64 g) {
      return KeyHead{p_.keys, place, tile.first_head / p_.shape.group() + g};
    };
    for (int64 g = 0; g < cut_.together; ++g) {
      const RowList keys{s.rows.at + g * kernels_.keys}, values{s.ahead.at + g * kernels_.keys};
      if (s.listed != columns) keys.of_keys(p_.key, key_head(g), columns, p_.shape.dim);
      s.few_keys[g].rows = {keys.at, columns.size(), p_.shape.dim, p_.key.dtype};
      s.few_values[g].rows = values.of_keys(p_.value, key_head(g), columns, p_.shape.value_dim);
      s.few_keys[g].ahead = {values.at, is_only ? 0 : columns.size(),
                             p_.shape.value_dim * core::bytes_of(p_.value.dtype)};
    }
    kernels_.score_few({s.few_keys, cut_.together});
    for (int64 g = 0; g < cut_.together; ++g) {
      const RowList keys{s.rows.at + g * kernels_.keys};
      keys.of_keys(p_.key, key_head(g), next, p_.shape.dim);
      s.few_values[g].ahead = {keys.at, next.size(), p_.shape.dim * core::bytes_of(p_.key.dtype)};
      take_values(beside(tile, g), g, columns, s);
    }
    s.listed = next;
  }

  // Scores of group g become weights, and go into its output.
  void take_values(const QueryTile& tile, int64 g, Range columns, ForwardScratch<T>& s) const {
    const Scorer<T> scorer(p_, kernels_, s.scores);
    const Group<T>& group = group_of(g, s);
    const FewArgs<T>& values = s.few_values[g];
    const RunningRows<T> rows = s.running(g, kernels_.pitch);
    const ScoreTile<T> scores{values.scores, columns.size(), group.vectors};
    if (one_) {
      kernels_.raise_one(scorer.of_one(scores.data, scores.keys, rows));
    } else {
      const T* unit = scorer.score_few(tile, group, columns, scores.data);
      kernels_.raise_few({scores, s.scores.largest, unit, rows, scorer.keep(tile, group, columns)});
    }
    kernels_.accumulate_few(values, rows.factor, output_of(g, s));
  }

  // The groups of a tile from `group` on are done: rows go into the output, or into part `part`.
  void finish(const QueryTile& tile, int64 part, int64 group, ForwardScratch<T>& s) const {
    const int64 pitch = kernels_.pitch, dim = p_.shape.value_dim;
    for (int64 first = 0; first < tile.lanes(); first += pitch) {
      const int64 g = group + first / pitch, count = core::smaller(pitch, tile.lanes() - first);
      const T *max = s.max + g * pitch, *sum = s.sum + g * pitch;
      const Matrix<T> out{few_ ? output_of(g, s) : s.row, s.dims.value};
      if (!few_)
        kernels_.from_lanes(output_of(g, s), s.dims.value, core::ceil_div(count, kernels_.lanes),
                            out);
      if (cut_.splits == 1) {
        for (int64 n = 0; n < count; ++n)
          s.factor[n] = finish_row(tile, first + n, {max[n], sum[n]});
        store(tile, first, count, {out.data, out.pitch}, s);
        continue;
      }
      const int64 to = part * cut_.lanes() + first;
      for (int64 n = 0; n < count; ++n) {
        parts_.row[to + n] = {max[n], sum[n]};
        for (int64 c = 0; c < dim; ++c)
          parts_.output[(to + n) * dim + c] = out.data[n * out.pitch + c];
      }
    }
  }

  // Stores lse, and returns what the row's sum of weighted values is multiplied by.
  T finish_row(const QueryTile& tile, int64 lane, core::Row<T> seen) const {
    const int64 head = tile.head(lane);
    const T sink = sink_of<T>(p_, head);
    const bool plain = sink == -core::infinity<T>();
    const core::Row<T> row = plain ? seen : core::merge(seen, core::row_of(sink));
    if (p_.lse) {
      const int64 to =
          row_of(p_.queries, p_.lse, place_of(p_.queries, tile.b), head, tile.row(lane));
      // To the bit, where the sink is all there is.
      tilewise::store(p_.lse, to, seen.sum == 0 ? sink : core::lse(row));
    }
    // A row that saw nothing has sum 0, and output 0.
    if (row.sum == 0) return 0;
    return (plain ? T(1) : core::exp2(seen.max - core::shift(row.max))) / row.sum;
  }

  // Rows of s.row times s.factor into lanes first .. first + count - 1 of the output.
  void store(const QueryTile& tile, int64 first, int64 count, Matrix<const T> from,
             ForwardScratch<T>& s) const {
    const Rows rows = s.rows.of_lanes(p_, p_.output, {tile, first, count}, p_.shape.value_dim);
    store_lanes(kernels_, rows, s.factor, from);
  }

  void merge(const QueryTile& tile, int64 n, int64 lane, ForwardScratch<T>& s) const {
    const int64 dim = p_.shape.value_dim;
    const auto part = [&](int64 split) { return (n * cut_.splits + split) * cut_.lanes() + lane; };
    core::Row<T> seen;
    for (int64 split = 0; split < cut_.splits; ++split)
      seen = core::merge(seen, parts_.row[part(split)]);
    for (int64 c = 0; c < dim; ++c) s.row[c] = 0;
    for (int64 split = 0; split < cut_.splits; ++split) {
      const core::Row<T> row = parts_.row[part(split)];
      if (row.sum == 0) continue;
      const T share = core::exp2(row.max - core::shift(seen.max));
      const T* from = parts_.output + part(split) * dim;
      for (int64 c = 0; c < dim; ++c) s.row[c] += share * from[c];
    }
    s.factor[0] = finish_row(tile, lane, seen);
    store(tile, lane, 1, {s.row, s.dims.value}, s);
  }

  const Problem& p_;
  const Kernels<T>& kernels_;
  Cut cut_;
  bool few_;  // queries in a tile: keys and values are read where they lie
  bool one_;  // query in a tile, and nothing but its product with keys
  Parts<T> parts_;
  int64 scratch_bytes_;  // of each worker
  std::byte* scratch_;
};

}  // namespace

template <class T>
Planned forward_plan(const Problem& problem, int workers, Decided& decided) {
  const Kernels<T>* kernels = &kernels_for<T>(problem, *decided.isa);
  decided.cut = cut_of(problem, *kernels, workers);
  // Few queries may have the kernels of another instruction set.
  if (const Isa* decoder = decided.isa->decoder; decoder && !kernels->score_few) {
    const Kernels<T>& few = kernels_for<T>(problem, *decoder);
    const Cut cut = cut_of(problem, few, workers);
    if (is_few(cut, few)) {
      kernels = &few;
      decided.isa = decoder;
      decided.cut = cut;
    }
  }
  Arena common(nullptr), scratch(nullptr);
  Parts<T>().take(problem, decided.cut, common);
  const ForwardScratch<T> counted(problem, *kernels, decided.cut, scratch);
  decided.common = common.used();
  decided.scratch = scratch.used();
  return {{decided.cut.rows, kernels->keys},
          kAlignmentRoom + decided.common + workers * decided.scratch};
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
