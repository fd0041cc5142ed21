#include "problem/sequences.h"

#include <gtest/gtest.h>

#include "calls.h"
#include "problem/place.h"

namespace tilewise {

Refusals sequence_refusals() {
  using A = Attention;
  return {
      refuse(TW_FORWARD, "queries.max_length is -1: it must be from 0 (unknown) to below 2^40.",
             [](A& a) { a.queries.max_length = -1; }),
      refuse(TW_FORWARD, "keys.max_length is 1099511627776: it must be from 0",
             [](A& a) { a.keys.max_length = std::int64_t{1} << 40; }),
      refuse(TW_FORWARD, "queries.offsets is empty: it must have batch + 1 entries, at least one.",
             [](A& a) {
               a.pack_queries();
               a.queries.offsets = a.memory.integers({});
             }),
      refuse(TW_FORWARD, "queries.offsets[0] is -1: offsets must not be negative.",
             [](A& a) {
               a.pack_queries();
               a.queries.offsets = a.memory.integers({-1, 3, 5});
             }),
      refuse(TW_FORWARD,
             "keys.offsets[2] is 2, below keys.offsets[1] which is 3: offsets must never decrease.",
             [](A& a) {
               a.pack_keys();
               a.keys.offsets = a.memory.short_integers({0, 3, 2});
             }),
      refuse(TW_FORWARD, "keys.offsets ends at 13 but key has 12 tokens",
             [](A& a) {
               a.pack_keys();
               a.keys.offsets = a.memory.integers({0, 3, 13});
             }),
      refuse(TW_FORWARD, "queries.used has shape (3) but must be (2): (batch).",
             [](A& a) {
               a.queries.used = a.memory.integers({1, 2, 3});
             }),
      refuse(TW_FORWARD, "keys.start has shape (1) but must be (2): (batch).",
             [](A& a) { a.keys.start = a.memory.integers({1}); }),
      refuse(TW_FORWARD, "keys.used[1] is 8 but sequence 1 has 7 rows: it must be from 0 to that.",
             [](A& a) {
               a.keys.used = a.memory.integers({7, 8});
             }),
      refuse(TW_FORWARD, "keys.used[0] is -1 but sequence 0 has 7 rows",
             [](A& a) {
               a.keys.used = a.memory.short_integers({-1, 2});
             }),
      refuse(TW_FORWARD, "queries.used[0] is 4 but sequence 0 has 3 rows",
             [](A& a) {
               a.pack_queries();
               a.queries.used = a.memory.integers({4, 2});
             }),
      refuse(TW_FORWARD, "queries.start[1] is 3 but rows up to 2 count: it must be from 0 to that.",
             [](A& a) {
               a.queries.used = a.memory.integers({5, 2});
               a.queries.start = a.memory.integers({5, 3});
             }),
      refuse(TW_FORWARD, "keys.start[0] is -2 but rows up to 7 count",
             [](A& a) {
               a.keys.start = a.memory.integers({-2, 3});
             }),
      refuse(TW_FORWARD,
             "keys.max_length is 6 but sequence 0 has 7 rows: it must be at least the longest.",
             [](A& a) { a.keys.max_length = 6; }),
      refuse(TW_FORWARD, "queries.max_length is 2 but sequence 0 has 3 rows",
             [](A& a) {
               a.pack_queries();
               a.queries.max_length = 2;
             }),
      refuse(TW_FORWARD,
             "keys.max_length is 0 and keys.offsets has no data: give one of them, so that lengths "
             "are known.",
             [](A& a) {
               a.pack_keys();
               a.forget_memory();
             }),
      refuse(TW_FORWARD,
             "keys.max_length is 0 and keys.offsets lies on the device: say how long a sequence is "
             "at most.",
             [](A& a) {
               a.pack_keys();
               a.buffers.on_device = a.buffers.tables_on_device = true;
             }),
  };
}

namespace {

TEST(Sequences, Refused) {
  expect_refusals(sequence_refusals());
}

TEST(Sequences, PackedRowsHaveTokensAndNoBatch) {
  Attention call;
  call.pack_queries();
  ASSERT_STREQ(call.check().sentence, "");
  const Problem& problem = call.problem;
  EXPECT_EQ(problem.shape.batch, 2);
  EXPECT_EQ(problem.shape.queries, 3);
  EXPECT_EQ(problem.query.size.batch, 1);
  EXPECT_EQ(problem.query.stride.batch, 0);
  EXPECT_EQ(problem.query.size.row, 6);
  EXPECT_EQ(problem.query.stride.row, 32);
  EXPECT_EQ(problem.lse.stride.head, 6);
  EXPECT_EQ(problem.lse.stride.row, 1);
  const Place place = place_of(problem.queries, 1);
  EXPECT_EQ(place.first, 3);
  EXPECT_EQ(place.length, 2);
  EXPECT_EQ(row_of(problem.queries, problem.query, place, 1, 1), 4 * 32 + 8);
}

TEST(Sequences, StartAndUsedCutRowsOff) {
  Attention call;
  call.pack_keys();
  call.keys.used = call.memory.integers({3, 6});
  call.keys.start = call.memory.short_integers({3, 1});
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(place_of(call.problem.keys, 0).length, 0);
  EXPECT_EQ(place_of(call.problem.keys, 1).first, 4);
  EXPECT_EQ(place_of(call.problem.keys, 1).length, 5);
  EXPECT_EQ(call.problem.shape.keys, 7) << "by the offsets, as a question about shapes has it";
}

TEST(Sequences, MaxLengthBoundsTheLongest) {
  Attention call;
  call.pack_queries();
  call.pack_keys();
  call.queries.max_length = 4;
  call.keys.max_length = 1000;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.shape.queries, 4);
  EXPECT_EQ(call.problem.shape.keys, 12) << "there are no more tokens than that";
}

TEST(Sequences, ShapesAloneNeedNoLengths) {
  Attention call;
  call.pack_queries();
  call.queries.max_length = 3;
  call.keys.used = call.memory.integers({1, 2});
  call.forget_memory();
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.shape.queries, 3);
  EXPECT_EQ(call.problem.shape.keys, 7);
}

// A question without data must get the same sizes as the call, so that it gets the same plan.
TEST(Sequences, ShapesAloneAgreeWithTheCall) {
  Attention before, after;
  for (Attention* call : {&before, &after}) {
    call->pack_queries();
    call->pack_keys();
    call->queries.max_length = call->keys.max_length = 9;
    call->keys.used = call->memory.integers({1, 2});
  }
  before.forget_memory();
  ASSERT_STREQ(before.check().sentence, "");
  ASSERT_STREQ(after.check().sentence, "");
  EXPECT_EQ(before.problem.shape.queries, after.problem.shape.queries);
  EXPECT_EQ(before.problem.shape.keys, after.problem.shape.keys);
}

// A question without data may name very many sequences. The check must not take a step for each.
TEST(Sequences, MoreThanCanBeCountedThroughAreAnsweredAtOnce) {
  const std::int64_t many = std::int64_t{1} << 39;
  Attention call;
  for (tw_tensor* tensor : {&call.request.query, &call.request.key, &call.request.value,
                            &call.request.output, &call.request.lse}) {
    tensor->shape[0] = many;
    tensor->byte_size = 0;
  }
  call.forget_memory();
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.shape.batch, many);
}

TEST(Sequences, NoSequencesAtAllAreFine) {
  Attention call;
  call.pack_queries();
  call.queries.offsets = call.memory.integers({0});
  call.pack_keys();
  call.keys.offsets = call.memory.integers({4});
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.shape.batch, 0);
  EXPECT_EQ(call.problem.shape.queries, 0);
}

}  // namespace
}  // namespace tilewise
