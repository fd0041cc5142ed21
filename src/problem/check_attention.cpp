// tw_forward, tw_backward and tw_probabilities.
#include <initializer_list>

#include "problem/cache.h"
#include "problem/features.h"

namespace tilewise {
namespace {

Status check_operation(tw_operation operation, const tw_request* request) {
  if (operation != TW_FORWARD && operation != TW_BACKWARD && operation != TW_PROBABILITIES) {
    return invalid(
        "operation is %d: it must be TW_FORWARD (0), TW_BACKWARD (1) or "
        "TW_PROBABILITIES (2).",
        static_cast<int>(operation));
  }
  if (!request) return invalid("request is null: give a tw_request.");
  return {};
}

// Reads output and lse. Forward writes output and may write lse; backward reads both. Probabilities
// have no lse, and their output has one element for each score.
Status read_results(Call& call, const tw_request& request, Problem& problem) {
  const bool packed = problem.queries.packed();
  const Form output{"output", rows_layout(problem.queries), Types::kFloat};
  const Form lse{"lse", packed ? kPackedLse : kDenseLse, wide_types(problem)};
  if (problem.operation == TW_PROBABILITIES) {
    const Form pairs{"output", kScorePairs, Types::kFloat};
    return call.output(request.output, pairs, problem.output, Need::kRequired);
  }
  if (problem.operation == TW_BACKWARD) {
    TW_TRY(call.input(request.output, output, problem.output, Need::kRequired));
    return call.input(request.lse, lse, problem.lse, Need::kRequired);
  }
  TW_TRY(call.output(request.output, output, problem.output, Need::kRequired));
  return call.output(request.lse, lse, problem.lse);
}

Status read_tensors(Call& call, const tw_request& request, Problem& problem) {
  const Layout& keys = cache_layout(problem.keys);
  TW_TRY(call.input(request.query, {"query", rows_layout(problem.queries), Types::kFloat},
                    problem.query, Need::kRequired));
  TW_TRY(call.input(request.key, {"key", keys, Types::kFloat}, problem.key, Need::kRequired));
  if (problem.operation != TW_PROBABILITIES) {
    TW_TRY(
        call.input(request.value, {"value", keys, Types::kFloat}, problem.value, Need::kRequired));
  }
  return read_results(call, request, problem);
}

Status check_value(const Problem& problem) {
  const View &query = problem.query, &key = problem.key, &value = problem.value;
  if (value.dtype != query.dtype) {
    return invalid("value is %s but query is %s: query, key and value share one type.",
                   name_of(value.dtype), name_of(query.dtype));
  }
  if (value.size.head != key.size.head) {
    return invalid("value has %lld heads but key has %lld: they must be as many.", value.size.head,
                   key.size.head);
  }
  if (value.size.row != key.size.row) {
    return invalid("value has %lld rows but key has %lld: they must be as many.", value.size.row,
                   key.size.row);
  }
  if (value.size.batch != key.size.batch) {
    return invalid("value has a batch (or pages) of %lld but key of %lld: they must be as many.",
                   value.size.batch, key.size.batch);
  }
  if (value.size.column < 1) return invalid("value has dim 0: at least 1 is needed.");
  return {};
}

Status check_heads(const Problem& problem) {
  const View &query = problem.query, &key = problem.key;
  if (key.dtype != query.dtype) {
    return invalid("key is %s but query is %s: query, key and value share one type.",
                   name_of(key.dtype), name_of(query.dtype));
  }
  if (query.size.head < 1 || key.size.head < 1) {
    return invalid("query has %lld heads and key has %lld: at least 1 is needed.", query.size.head,
                   key.size.head);
  }
  if (query.size.head % key.size.head != 0) {
    return invalid(
        "key has %lld heads but query has %lld: query heads must be a multiple of key "
        "heads.",
        key.size.head, query.size.head);
  }
  if (query.size.column < 1) return invalid("query has dim 0: at least 1 is needed.");
  if (key.size.column != query.size.column) {
    return invalid("key has dim %lld but query has %lld: they must be alike.", key.size.column,
                   query.size.column);
  }
  return problem.value ? check_value(problem) : Status{};
}

// The widest dim of a head; the bytes of all threads' tiles must not overflow int64.
constexpr int64 kWidestHead = int64{1} << 24;

// Refuses sizes whose products, such as a workspace's bytes, would overflow.
Status check_count(const Shape& shape) {
  for (const int64 dim : {shape.dim, shape.value_dim}) {
    if (dim > kWidestHead) {
      return invalid("The dims are %lld and %lld: a head is at most 2^24 wide.", shape.dim,
                     shape.value_dim);
    }
  }
  int64 count = shape.queries + shape.keys;
  bool beyond = false;
  for (const int64 factor : {shape.batch, shape.heads, shape.dim + shape.value_dim})
    beyond = __builtin_mul_overflow(count, factor, &count) || beyond;
  if (!beyond && count < int64{1} << 58) return {};
  return invalid(
      "batch %lld, heads %lld, lengths %lld and %lld with dims %lld and %lld make more "
      "than 2^58 elements: no machine holds them.",
      shape.batch, shape.heads, shape.queries, shape.keys, shape.dim, shape.value_dim);
}

Status check_sides(Problem& problem) {
  Side &queries = problem.queries, &keys = problem.keys;
  Shape& shape = problem.shape;
  shape.batch = batch_of(queries, problem.query);
  queries.rows = problem.query.size.row;
  int64 key_batch = 0;
  TW_TRY(size_cache(problem.key, "key", keys, key_batch));
  if (key_batch != shape.batch) {
    return invalid(
        "the keys have %lld sequences but the queries have %lld: offsets (batch + 1), "
        "tables and dense batches must agree.",
        key_batch, shape.batch);
  }
  if (keys.paged() && !keys.used) {
    return invalid(
        "cache.page_table is given without keys.used: say how many keys of each "
        "sequence count.");
  }
  TW_TRY(place_sequences(kQuerySide, shape.batch, queries));
  TW_TRY(place_sequences(kKeySide, shape.batch, keys));
  shape.queries = queries.longest;
  shape.keys = keys.longest;
  shape.heads = problem.query.size.head;
  shape.key_heads = problem.key.size.head;
  shape.dim = problem.query.size.column;
  shape.value_dim = problem.value ? problem.value.size.column : 0;
  return check_count(shape);
}

Status check_results(const Problem& problem) {
  const View& query = problem.query;
  const bool packed = problem.queries.packed();
  if (problem.operation == TW_PROBABILITIES) {
    Wanted pairs = wanted_pairs(problem);
    pairs.ones = false;
    return check_shape(problem.output, {"output", kScorePairs, Types::kFloat}, pairs);
  }
  const Axes rows{query.size.batch, query.size.head, query.size.row, problem.shape.value_dim};
  TW_TRY(check_shape(problem.output, {"output", rows_layout(problem.queries), Types::kFloat},
                     {.size = rows}));
  if (!problem.lse) return {};
  return check_shape(problem.lse, {"lse", packed ? kPackedLse : kDenseLse, wide_types(problem)},
                     {.size = {rows.batch, rows.head, rows.row, 1}});
}

core::Range attended(const void* context, int64 b) {
  const Place place = place_of(*static_cast<const Side*>(context), b);
  return {place.first, place.first + place.length};
}

Status check_tables(const Problem& problem) {
  const Side& keys = problem.keys;
  if (!keys.paged() && !keys.batch_index) return {};
  if (!has_lengths(keys) || !has_tables(keys)) return {};
  const Touched touched{keys, problem.shape.batch, problem.key.size.batch, attended, &keys};
  TW_TRY(check_entries(touched));
  if (!problem.gradients.key && !problem.gradients.value) return {};
  return check_unshared(touched,
                        "with gradients of key or value each must belong to one sequence, once");
}

Status check_features(Call& call, const tw_options& options, Problem& problem) {
  TW_TRY(check_mask(call, options.mask, problem));
  TW_TRY(check_scores(call, options.scores, problem));
  TW_TRY(check_dropout(call, options.dropout, problem));
  TW_TRY(check_scaling(call, options.scaling, problem));
  TW_TRY(check_flag(options.deterministic, "options.deterministic"));
  problem.deterministic = options.deterministic != 0;
  return {};
}

}  // namespace

Status check(tw_operation operation, const tw_request* request, Call& call, Problem& problem) {
  problem = {};
  problem.operation = operation;
  TW_TRY(check_operation(operation, request));
  Given<tw_request> given;
  Given<tw_options> options;
  TW_TRY(given.read(request, "request", "tw_request"));
  TW_TRY(options.read(given->options, "options", "tw_options"));
  TW_TRY(read_sequences(call, options->queries, kQuerySide, problem.queries));
  TW_TRY(read_sequences(call, options->keys, kKeySide, problem.keys));
  TW_TRY(read_cache(call, options->cache, problem.keys));
  TW_TRY(read_tensors(call, *given, problem));
  TW_TRY(check_heads(problem));
  TW_TRY(check_sides(problem));
  TW_TRY(check_results(problem));
  TW_TRY(check_features(call, *options, problem));
  TW_TRY(check_gradients(call, *given, problem));
  TW_TRY(check_tables(problem));
  return call.outputs_apart();
}

}  // namespace tilewise
