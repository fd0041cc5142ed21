// tw_append.
#include "problem/cache.h"
#include "problem/rotation.h"

namespace tilewise {
namespace {

constexpr RotaryNames kKeys{kKeySide, "key", "key_cache", "lengths"};
constexpr RotaryNames kQueries{kQuerySide, "query", "rotated_query", "lengths"};
constexpr Form kLengths{"lengths", kBatch, Types::kIndex};

Status read_tensors(Call& call, const tw_append_request& request, AppendProblem& problem) {
  TW_TRY(read_sequences(call, request.keys, kKeySide, problem.fresh));
  TW_TRY(read_cache(call, request.cache, problem.cache));
  const Layout &fresh = rows_layout(problem.fresh), &cache = cache_layout(problem.cache);
  const Form key{"key", fresh, Types::kFloat}, value{"value", fresh, Types::kFloat};
  const Form key_cache{"key_cache", cache, Types::kFloat};
  const Form value_cache{"value_cache", cache, Types::kFloat};
  TW_TRY(call.input(request.key, key, problem.key, Need::kRequired));
  TW_TRY(call.input(request.value, value, problem.value, Need::kRequired));
  TW_TRY(call.output(request.key_cache, key_cache, problem.key_cache, Need::kRequired));
  TW_TRY(call.output(request.value_cache, value_cache, problem.value_cache, Need::kRequired));
  TW_TRY(call.input(request.lengths, kLengths, problem.lengths, Need::kRequired));

  // value has key's shape but for dim; a cache has key's or value's shape but for batch and rows.
  Axes size = problem.key.size;
  size.column = problem.value.size.column;
  TW_TRY(check_shape(problem.value, value, {.size = size}));
  size = problem.key_cache.size;
  size.head = problem.key.size.head;
  size.column = problem.key.size.column;
  TW_TRY(check_shape(problem.key_cache, key_cache, {.size = size}));
  size.column = problem.value.size.column;
  return check_shape(problem.value_cache, value_cache, {.size = size});
}

Status check_sides(AppendProblem& problem) {
  const View &key = problem.key, &value = problem.value;
  if (key.size.head < 1 || key.size.column < 1 || value.size.column < 1) {
    return invalid(
        "key has %lld heads of dim %lld and value has dim %lld: each must be at least "
        "1.",
        key.size.head, key.size.column, value.size.column);
  }
  problem.batch = batch_of(problem.fresh, key);
  problem.key_heads = key.size.head;
  problem.dim = key.size.column;
  problem.value_dim = value.size.column;
  problem.fresh.rows = key.size.row;
  TW_TRY(place_sequences(kKeySide, problem.batch, problem.fresh));
  int64 cached = 0;
  TW_TRY(size_cache(problem.key_cache, "key_cache", problem.cache, cached));
  if (cached != problem.batch) {
    return invalid(
        "the cache has %lld sequences but %lld are to be appended to: without a "
        "cache.batch_index, one row or table row belongs to each.",
        cached, problem.batch);
  }
  problem.cache.longest = problem.cache.rows;
  return check_shape(problem.lengths, kLengths, {.size = {problem.batch, 1, 1, 1}});
}

core::Range appended(const void* context, int64 b) {
  const auto& problem = *static_cast<const AppendProblem*>(context);
  const int64 length = index_at(problem.lengths, b * problem.lengths.stride.batch);
  return {length, length + place_of(problem.fresh, b).length};
}

Status check_room(const AppendProblem& problem) {
  const int64 capacity = problem.cache.rows;
  if (!readable(problem.lengths) || !has_lengths(problem.fresh)) return {};
  for (int64 b = 0; b < problem.batch; ++b) {
    const int64 length = index_at(problem.lengths, b * problem.lengths.stride.batch);
    const int64 rows = place_of(problem.fresh, b).length;
    if (length >= 0 && length <= capacity - rows) continue;
    return invalid(
        "lengths[%lld] is %lld and %lld rows are appended, but the cache holds %lld a "
        "sequence: lengths must not be negative, nor leave too little room.",
        b, length, rows, capacity);
  }
  if (!problem.cache.paged() && !problem.cache.batch_index) return {};
  if (!has_tables(problem.cache)) return {};
  const Touched touched{problem.cache, problem.batch, problem.key_cache.size.batch, appended,
                        &problem};
  TW_TRY(check_entries(touched));
  return check_unshared(touched, "what is appended there would be written twice");
}

// The new keys as the input of a rotation.
RotaryProblem rotated_keys(const AppendProblem& problem) {
  RotaryProblem keys;
  keys.batch = problem.batch;
  keys.heads = problem.key_heads;
  keys.dim = problem.dim;
  keys.side = problem.fresh;
  keys.rotation = problem.rotation;
  keys.positions = problem.lengths;
  return keys;
}

Status check_queries(Call& call, const tw_append_request& request, AppendProblem& problem) {
  TW_TRY(check_flag(request.fixed_query, "fixed_query"));
  if (request.query.rank == 0 && request.rotated_query.rank == 0) {
    if (!request.queries) return {};
    return invalid("queries is given but query and rotated_query are absent: give all or none.");
  }
  if (!problem.rotation) {
    return invalid(
        "query or rotated_query is given without a rotation: there is nothing to do "
        "with them.");
  }
  RotaryProblem& queries = problem.queries;
  TW_TRY(check_rotated(call, {request.query, request.rotated_query, request.queries}, kQueries,
                       queries));
  if (queries.batch != problem.batch) {
    return invalid("query has %lld sequences but key has %lld: they must be as many.",
                   queries.batch, problem.batch);
  }
  queries.rotation = problem.rotation;
  queries.positions = problem.lengths;
  queries.fixed = request.fixed_query != 0;
  return check_positions(queries, kQueries);
}

}  // namespace

Status check(const tw_append_request* request, Call& call, AppendProblem& problem) {
  problem = {};
  if (!request) return invalid("request is null: give a tw_append_request.");
  Given<tw_append_request> given;
  TW_TRY(given.read(request, "request", "tw_append_request"));
  TW_TRY(read_tensors(call, *given, problem));
  TW_TRY(check_sides(problem));
  TW_TRY(check_room(problem));
  TW_TRY(check_rotation(call, given->rotation, problem.rotation));
  if (problem.rotation) TW_TRY(check_positions(rotated_keys(problem), kKeys));
  TW_TRY(check_queries(call, *given, problem));
  return call.outputs_apart();
}

}  // namespace tilewise
