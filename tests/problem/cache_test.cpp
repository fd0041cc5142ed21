#include "problem/cache.h"

#include <gtest/gtest.h>

#include "calls.h"
#include "problem/place.h"

namespace tilewise {

Refusals cache_refusals() {
  using A = Attention;
  return {
      refuse(TW_FORWARD, "cache has a page_table and a batch_index",
             [](A& a) {
               a.page_keys();
               a.cache.batch_index = a.memory.integers({0, 1});
             }),
      refuse(TW_FORWARD, "cache and keys.offsets are both given: cached keys are not packed",
             [](A& a) {
               a.page_keys();
               a.keys.offsets = a.memory.integers({0, 3, 5});
             }),
      refuse(TW_FORWARD, "cache and keys.offsets are both given",
             [](A& a) {
               a.index_keys();
               a.keys.offsets = a.memory.integers({0, 3, 5});
             }),
      refuse(TW_FORWARD, "cache.page_table has rank 1 but must have rank 2: (batch, columns).",
             [](A& a) {
               a.page_keys();
               a.cache.page_table.rank = 1;
             }),
      refuse(TW_FORWARD,
             "key has rank 3 but must have rank 4: paged (pages, page size, key heads, dim).",
             [](A& a) {
               a.page_keys();
               a.request.key.rank = 3;
             }),
      refuse(TW_FORWARD, "key has pages of 0 rows: at least 1 is needed.",
             [](A& a) {
               a.page_keys();
               a.request.key.shape[1] = a.request.value.shape[1] = 0;
             }),
      refuse(TW_FORWARD,
             "cache.page_table has 549755813888 columns of 4 rows: it must reach less than 2^40 "
             "rows.",
             [](A& a) {
               a.page_keys();
               a.cache.page_table.shape[1] = std::int64_t{1} << 39;
               a.cache.page_table.byte_size = 0;
             }),
      refuse(TW_FORWARD, "cache.page_table is given without keys.used",
             [](A& a) {
               a.page_keys();
               a.keys.used = {};
             }),
      refuse(TW_FORWARD, "the keys have 3 sequences but the queries have 2",
             [](A& a) {
               a.page_keys();
               a.cache.page_table = a.memory.integers({0, 1, 2, 3, 4, 0}, 2);
             }),
      refuse(TW_FORWARD, "keys.used[1] is 9 but sequence 1 has 8 rows",
             [](A& a) {
               a.page_keys();
               a.keys.used = a.memory.integers({5, 9});
             }),
      refuse(TW_FORWARD,
             "cache.page_table[1, 1] is 5 but there are 5 pages: each entry that the length of its "
             "sequence reaches must name one of them.",
             [](A& a) {
               a.page_keys();
               a.cache.page_table = a.memory.integers({3, 0, 1, 5}, 2);
             }),
      refuse(TW_FORWARD, "cache.page_table[0, 0] is -1 but there are 5 pages",
             [](A& a) {
               a.page_keys();
               a.cache.page_table = a.memory.integers({-1, 0, 1, 4}, 2);
             }),
      refuse(TW_FORWARD,
             "cache.batch_index[1] is 3 but there are 3 rows: it must name one of them.",
             [](A& a) {
               a.index_keys();
               a.cache.batch_index = a.memory.integers({2, 3});
             }),
      refuse(TW_FORWARD, "cache.batch_index[0] is -1 but there are 3 rows",
             [](A& a) {
               a.index_keys();
               a.cache.batch_index = a.memory.short_integers({-1, 0});
             }),
      refuse(TW_BACKWARD,
             "cache.page_table names page 0 a second time for sequence 1: with gradients of key or "
             "value each must belong to one sequence, once.",
             [](A& a) {
               a.page_keys();
               a.cache.page_table = a.memory.integers({3, 0, 0, 4}, 2);
             }),
      refuse(TW_BACKWARD, "cache.page_table names page 4 a second time for sequence 1",
             [](A& a) {
               a.page_keys();
               a.cache.page_table = a.memory.integers({3, 0, 4, 4}, 2);
               a.gradients.key = {};
             }),
      refuse(TW_BACKWARD, "cache.batch_index names row 2 a second time for sequence 1",
             [](A& a) {
               a.index_keys();
               a.cache.batch_index = a.memory.integers({2, 2});
             }),
  };
}

namespace {

TEST(Cache, Refused) {
  expect_refusals(cache_refusals());
}

TEST(Cache, PagesAreTheBatchAndSlotsTheRows) {
  Attention call;
  call.page_keys();
  call.keys.start = call.memory.integers({0, 2});
  ASSERT_STREQ(call.check().sentence, "");
  const Problem& problem = call.problem;
  EXPECT_EQ(problem.shape.batch, 2);
  EXPECT_EQ(problem.shape.keys, 8);
  EXPECT_EQ(problem.keys.page_size, 4);
  EXPECT_EQ(problem.key.size.batch, 5);
  EXPECT_EQ(problem.key.size.row, 4);
  // Key 3 of sequence 1 is its row 5: slot 1 of page 4.
  const Place place = place_of(problem.keys, 1);
  EXPECT_EQ(place.length, 6);
  EXPECT_EQ(row_of(problem.keys, problem.key, place, 1, 3), 4 * 64 + 1 * 16 + 8);
}

TEST(Cache, EntriesThatNoLengthReachesAreNotLookedAt) {
  Attention call(TW_BACKWARD);
  call.page_keys();
  call.keys.used = call.memory.integers({4, 8});
  call.keys.start = call.memory.integers({0, 4});
  call.cache.page_table = call.memory.integers({3, -7, 99, 4}, 2);
  EXPECT_STREQ(call.check().sentence, "");
}

TEST(Cache, ForwardMayShareWhatBackwardMayNot) {
  Attention pages, rows(TW_BACKWARD);
  pages.page_keys();
  pages.cache.page_table = pages.memory.integers({3, 0, 3, 3}, 2);
  EXPECT_STREQ(pages.check().sentence, "");
  rows.index_keys();
  rows.cache.batch_index = rows.memory.integers({1, 1});
  rows.gradients.key = rows.gradients.value = {};
  EXPECT_STREQ(rows.check().sentence, "") << "the gradient of query alone";
}

TEST(Cache, IndexedRowsLieWhereTheIndexSays) {
  Attention call;
  call.index_keys();
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.shape.batch, 2);
  EXPECT_EQ(place_of(call.problem.keys, 0).batch, 2);
  EXPECT_EQ(place_of(call.problem.keys, 0).length, 7);
}

// More pages than one window of the search has, met in any order.
TEST(Cache, SharedPagesAreFoundFarApart) {
  constexpr int64 kPages = 300000;
  const auto found = [&](int64 first, int64 last) {
    Attention call(TW_BACKWARD);
    call.page_keys();
    for (tw_tensor* tensor : {&call.request.key, &call.request.value}) {
      tensor->shape[0] = kPages;
      tensor->byte_size = 0;
    }
    // All pages lie at the same address, so that many need little memory.
    call.request.key.stride[0] = call.request.value.stride[0] = 0;
    call.cache.page_table = call.memory.integers({first, 299999, 70000, last}, 2);
    call.gradients.key = call.memory.tensor(TW_FLOAT16, {kPages, 4, 2, 8});
    call.gradients.value = {};
    return !call.check().ok();
  };
  EXPECT_TRUE(found(140000, 140000));
  EXPECT_TRUE(found(65536, 65536));
  EXPECT_TRUE(found(5, 299999));
  EXPECT_TRUE(found(70000, 5));
  EXPECT_FALSE(found(140000, 140001));
  EXPECT_FALSE(found(65535, 65536));
}

}  // namespace
}  // namespace tilewise
