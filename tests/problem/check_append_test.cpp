#include <gtest/gtest.h>

#include "calls.h"
#include "problem/place.h"

namespace tilewise {

Refusals append_refusals() {
  using A = Append;
  return {
      {"request is null: give a tw_append_request.", TW_INVALID,
       [] {
         AppendProblem problem;
         Call call{Buffers{}};
         return check(static_cast<const tw_append_request*>(nullptr), call, problem);
       }},
      refuse<A>("set size to sizeof(tw_append_request).", [](A& a) { a.request.size = 8; }),
      refuse<A>("key is absent", [](A& a) { a.request.key = {}; }),
      refuse<A>("value is absent", [](A& a) { a.request.value = {}; }),
      refuse<A>("key_cache is absent", [](A& a) { a.request.key_cache = {}; }),
      refuse<A>("value_cache is absent", [](A& a) { a.request.value_cache = {}; }),
      refuse<A>("lengths is absent", [](A& a) { a.request.lengths = {}; }),
      refuse<A>("value has shape (2, 2, 2, 16) but must be (2, 3, 2, 16)",
                [](A& a) { a.request.value.shape[1] = 2; }),
      refuse<A>("key_cache has shape (2, 9, 1, 8) but must be (2, 9, 2, 8)",
                [](A& a) { a.request.key_cache.shape[2] = 1; }),
      refuse<A>("value_cache has shape (2, 8, 2, 16) but must be (2, 9, 2, 16)",
                [](A& a) { a.request.value_cache.shape[1] = 8; }),
      refuse<A>("value_cache has shape (6, 4, 2, 8) but must be (6, 4, 2, 16): paged (pages",
                [](A& a) {
                  a.page_cache();
                  a.request.value_cache.shape[3] = 8;
                }),
      refuse<A>("key has 2 heads of dim 0 and value has dim 16: each must be at least 1.",
                [](A& a) { a.request.key.shape[3] = a.request.key_cache.shape[3] = 0; }),
      refuse<A>("the cache has 3 sequences but 2 are to be appended to",
                [](A& a) {
                  a.request.key_cache = a.memory.tensor(TW_FLOAT16, {3, 9, 2, 8});
                  a.request.value_cache = a.memory.tensor(TW_FLOAT16, {3, 9, 2, 16});
                }),
      refuse<A>("the cache has 1 sequences but 2 are to be appended to",
                [](A& a) { a.cache.batch_index = a.memory.integers({1}); }),
      refuse<A>("key_cache has pages of 0 rows: at least 1 is needed.",
                [](A& a) {
                  a.page_cache();
                  a.request.key_cache.shape[1] = a.request.value_cache.shape[1] = 0;
                }),
      refuse<A>("lengths has shape (3) but must be (2): (batch).",
                [](A& a) {
                  a.request.lengths = a.memory.integers({0, 0, 0});
                }),
      refuse<A>("lengths[1] is 7 and 3 rows are appended, but the cache holds 9 a sequence",
                [](A& a) {
                  a.request.lengths = a.memory.integers({6, 7});
                }),
      refuse<A>("lengths[0] is -1 and 3 rows are appended",
                [](A& a) {
                  a.request.lengths = a.memory.short_integers({-1, 0});
                }),
      refuse<A>("cache.page_table[0, 1] is 6 but there are 6 pages",
                [](A& a) {
                  a.page_cache();
                  a.cache.page_table = a.memory.integers({5, 6, 1, 2}, 2);
                }),
      refuse<A>("cache.batch_index[1] is 2 but there are 2 rows",
                [](A& a) {
                  a.cache.batch_index = a.memory.integers({0, 2});
                }),
      refuse<A>("cache.page_table names page 1 a second time for sequence 1: what is appended "
                "there would "
                "be written twice.",
                [](A& a) {
                  a.page_cache();
                  a.cache.page_table = a.memory.integers({5, 1, 1, 2}, 2);
                }),
      refuse<A>("cache.batch_index names row 1 a second time for sequence 1: what is appended",
                [](A& a) {
                  a.cache.batch_index = a.memory.integers({1, 1});
                }),
      refuse<A>("rotation.cosine has 6 positions but key of sequence 0 reaches position 6",
                [](A& a) { a.rotation.cosine.shape[0] = a.rotation.sine.shape[0] = 6; }),
      refuse<A>("rotation.cosine has 5 columns, which rotate 10 elements, but key has dim 8",
                [](A& a) {
                  a.rotation.cosine = a.memory.tensor(TW_FLOAT32, {16, 5});
                  a.rotation.sine = a.memory.tensor(TW_FLOAT32, {16, 5});
                }),
      refuse<A>("rotation.cosine has 7 positions but query of sequence 0 reaches position 8",
                [](A& a) {
                  a.rotation.cosine.shape[0] = a.rotation.sine.shape[0] = 7;
                  a.request.query = a.memory.tensor(TW_FLOAT32, {2, 5, 4, 8});
                  a.request.rotated_query = a.memory.tensor(TW_FLOAT32, {2, 5, 4, 8});
                }),
      refuse<A>("fixed_query is 3: it must be 0 or 1.", [](A& a) { a.request.fixed_query = 3; }),
      refuse<A>("query is absent", [](A& a) { a.request.query = {}; }),
      refuse<A>("rotated_query is absent", [](A& a) { a.request.rotated_query = {}; }),
      refuse<A>("queries is given but query and rotated_query are absent: give all or none.",
                [](A& a) { a.request.query = a.request.rotated_query = {}; }),
      refuse<A>("query or rotated_query is given without a rotation",
                [](A& a) { a.request.rotation = nullptr; }),
      refuse<A>("query has 0 heads: at least 1 is needed.",
                [](A& a) { a.request.query.shape[2] = a.request.rotated_query.shape[2] = 0; }),
      refuse<A>("query has 1 sequences but key has 2: they must be as many.",
                [](A& a) { a.request.query.shape[0] = a.request.rotated_query.shape[0] = 1; }),
      refuse<A>("key_cache and value_cache share memory",
                [](A& a) {
                  a.request.value_cache.dtype = TW_FLOAT16;
                  a.request.value_cache.byte_size = 0;
                  a.request.value_cache.data = a.request.key_cache.data;
                }),
      refuse<A>("key_cache and key share memory",
                [](A& a) { a.request.key.data = a.request.key_cache.data; }),
      refuse<A>("rotated_query and query share memory",
                [](A& a) { a.request.rotated_query = a.request.query; }),
      refuse<A>("value_cache and rotated_query share memory",
                [](A& a) {
                  a.request.rotated_query.byte_size = 0;
                  a.request.rotated_query.data = a.request.value_cache.data;
                }),
  };
}

namespace {

TEST(AppendCheck, Refused) {
  expect_refusals(append_refusals());
}

TEST(AppendCheck, DenseCache) {
  Append call;
  call.request.fixed_query = 1;
  ASSERT_STREQ(call.check().sentence, "");
  const AppendProblem& problem = call.problem;
  EXPECT_EQ(problem.batch, 2);
  EXPECT_EQ(problem.key_heads, 2);
  EXPECT_EQ(problem.dim, 8);
  EXPECT_EQ(problem.value_dim, 16);
  EXPECT_EQ(place_of(problem.fresh, 1).length, 3);
  EXPECT_EQ(place_of(problem.cache, 1).first, 0);
  EXPECT_EQ(place_of(problem.cache, 1).batch, 1);
  EXPECT_EQ(problem.key_cache.stride.row, 16);
  EXPECT_TRUE(problem.queries.output);
  EXPECT_TRUE(problem.queries.fixed);
  EXPECT_EQ(problem.queries.heads, 4);
  EXPECT_EQ(index_at(problem.queries.positions, 0), 4);
}

TEST(AppendCheck, PackedKeysIntoPages) {
  Append call;
  call.page_cache();
  call.keys.offsets = call.memory.integers({0, 1, 6});
  call.request.key = call.memory.tensor(TW_FLOAT32, {6, 2, 8});
  call.request.value = call.memory.tensor(TW_FLOAT32, {6, 2, 16});
  ASSERT_STREQ(call.check().sentence, "");
  const Side& cache = call.problem.cache;
  EXPECT_EQ(cache.rows, 8);
  EXPECT_EQ(row_of(cache, call.problem.key_cache, place_of(cache, 0), 1, 4), 0 * 64 + 8);
  EXPECT_EQ(row_of(cache, call.problem.key_cache, place_of(cache, 1), 0, 4), 2 * 64);
}

TEST(AppendCheck, PlainCopy) {
  Append call;
  call.request.rotation = nullptr;
  call.request.query = call.request.rotated_query = {};
  call.request.queries = nullptr;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_FALSE(call.problem.rotation);
  EXPECT_FALSE(call.problem.queries.output);
}

// Sequences may share the pages of a common prefix, but not those to which rows are appended.
TEST(AppendCheck, PagesBeforeTheAppendedRowsMayBeShared) {
  Append call;
  call.page_cache();
  call.request.lengths = call.memory.integers({4, 4});
  call.cache.page_table = call.memory.integers({5, 0, 5, 2}, 2);
  EXPECT_STREQ(call.check().sentence, "");
}

TEST(AppendCheck, NothingNewTouchesNothing) {
  Append call;
  call.page_cache();
  call.keys.used = call.memory.integers({0, 3});
  call.request.lengths = call.memory.integers({8, 0});
  call.cache.page_table = call.memory.integers({77, -1, 1, 2}, 2);
  call.queries.used = call.memory.integers({0, 3});
  EXPECT_STREQ(call.check().sentence, "");
}

}  // namespace
}  // namespace tilewise
