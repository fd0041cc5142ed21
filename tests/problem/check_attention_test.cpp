#include <gtest/gtest.h>

#include <cmath>

#include "calls.h"

namespace tilewise {

Refusals shape_refusals() {
  using A = Attention;
  return {
      {"request is null: give a tw_request.", TW_INVALID,
       [] {
         Problem problem;
         Call call{Buffers{}};
         return check(TW_FORWARD, nullptr, call, problem);
       }},
      refuse(TW_FORWARD, "operation is 3: it must be TW_FORWARD (0), TW_BACKWARD (1) or",
             [](A& a) { a.operation = static_cast<tw_operation>(3); }),
      refuse(TW_FORWARD,
             "query is absent (its rank is 0): this call needs it as (batch, length, heads, dim).",
             [](A& a) { a.request.query = {}; }),
      refuse(TW_FORWARD, "key is absent", [](A& a) { a.request.key = {}; }),
      refuse(TW_FORWARD, "value is absent", [](A& a) { a.request.value = {}; }),
      refuse(TW_FORWARD, "output is absent", [](A& a) { a.request.output = {}; }),
      refuse(TW_PROBABILITIES, "output is absent", [](A& a) { a.request.output = {}; }),
      refuse(TW_BACKWARD, "output is absent", [](A& a) { a.request.output = {}; }),
      refuse(TW_BACKWARD,
             "lse is absent (its rank is 0): this call needs it as (batch, heads, "
             "queries).",
             [](A& a) { a.request.lse = {}; }),
      refuse(TW_FORWARD,
             "key is float16 but query is float32: query, key and value share one type.",
             [](A& a) { a.request.key.dtype = TW_FLOAT16; }),
      refuse(TW_FORWARD, "value is bfloat16 but query is float32",
             [](A& a) { a.request.value.dtype = TW_BFLOAT16; }),
      refuse(TW_FORWARD, "query has 0 heads and key has 2: at least 1 is needed.",
             [](A& a) { a.request.query.shape[2] = 0; }),
      refuse(TW_FORWARD, "query has 4 heads and key has 0: at least 1 is needed.",
             [](A& a) { a.request.key.shape[2] = 0; }),
      refuse(TW_FORWARD,
             "key has 3 heads but query has 4: query heads must be a multiple of key heads.",
             [](A& a) {
               a.request.key = a.memory.tensor(TW_FLOAT32, {2, 7, 3, 8});
             }),
      refuse(TW_FORWARD, "value has 1 heads but key has 2: they must be as many.",
             [](A& a) {
               a.request.value = a.memory.tensor(TW_FLOAT32, {2, 7, 1, 16});
             }),
      refuse(TW_FORWARD, "query has dim 0: at least 1 is needed.",
             [](A& a) { a.request.query.shape[3] = a.request.key.shape[3] = 0; }),
      refuse(TW_FORWARD, "value has dim 0: at least 1 is needed.",
             [](A& a) { a.request.value.shape[3] = 0; }),
      refuse(TW_FORWARD, "key has dim 4 but query has 8: they must be alike.",
             [](A& a) { a.request.key.shape[3] = 4; }),
      refuse(TW_FORWARD, "value has 6 rows but key has 7: they must be as many.",
             [](A& a) { a.request.value.shape[1] = 6; }),
      refuse(TW_FORWARD, "value has a batch (or pages) of 1 but key of 2: they must be as many.",
             [](A& a) { a.request.value.shape[0] = 1; }),
      refuse(TW_FORWARD, "the keys have 1 sequences but the queries have 2",
             [](A& a) { a.request.key.shape[0] = a.request.value.shape[0] = 1; }),
      refuse(TW_FORWARD, "the keys have 2 sequences but the queries have 3",
             [](A& a) {
               a.pack_queries();
               a.queries.offsets = a.memory.integers({0, 1, 2, 3});
             }),
      refuse(TW_FORWARD, "The dims are 16777217 and 16: a head is at most 2^24 wide.",
             [](A& a) {
               a.request.query.shape[3] = a.request.key.shape[3] = (1 << 24) + 1;
               for (tw_tensor* tensor : {&a.request.query, &a.request.key}) {
                 for (int k = 0; k < 3; ++k) tensor->stride[k] = 0;
                 tensor->byte_size = 0;
               }
             }),
      refuse(TW_FORWARD,
             "batch 2, heads 4, lengths 1099511627775 and 7 with dims 2097152 and 16 make more "
             "than 2^58 elements",
             [](A& a) {
               tw_request& r = a.request;
               r.query.shape[1] = r.output.shape[1] = r.lse.shape[2] = (std::int64_t{1} << 40) - 1;
               r.query.shape[3] = r.key.shape[3] = 1 << 21;
               for (tw_tensor* tensor : {&r.query, &r.key, &r.output, &r.lse}) {
                 for (int k = 0; k < tensor->rank - 1; ++k) tensor->stride[k] = 0;
                 tensor->byte_size = 0;
               }
             }),
      refuse(TW_FORWARD,
             "output has shape (2, 5, 4, 8) but must be (2, 5, 4, 16): (batch, length, heads, "
             "dim).",
             [](A& a) { a.request.output.shape[3] = 8; }),
      refuse(TW_BACKWARD, "output has shape (2, 5, 2, 16) but must be (2, 5, 4, 16)",
             [](A& a) { a.request.output.shape[2] = 2; }),
      refuse(TW_FORWARD, "output has shape (5, 4, 16) but must be (6, 4, 16): packed (tokens",
             [](A& a) {
               a.pack_queries();
               a.request.output.shape[0] = 5;
             }),
      refuse(TW_FORWARD, "lse has shape (2, 4, 4) but must be (2, 4, 5): (batch, heads, queries).",
             [](A& a) { a.request.lse.shape[2] = 4; }),
      refuse(TW_FORWARD, "lse has shape (2, 6) but must be (4, 6): packed (heads, tokens).",
             [](A& a) {
               a.pack_queries();
               a.request.lse.shape[0] = 2;
             }),
      refuse(TW_PROBABILITIES, "output has shape (2, 4, 5, 6) but must be (2, 4, 5, 7)",
             [](A& a) { a.request.output.shape[3] = 6; }),
      refuse(TW_PROBABILITIES, "output has shape (1, 4, 5, 7) but must be (2, 4, 5, 7)",
             [](A& a) { a.request.output.shape[0] = 1; }),
      refuse(TW_PROBABILITIES,
             "output has shape (2, 4, 2, 6) but must be (2, 4, at least 3, at least 7)",
             [](A& a) {
               a.pack_queries();
               a.pack_keys();
               a.request.output.shape[2] = 2;
               a.request.output.shape[3] = 6;
             }),
  };
}

namespace {

TEST(Attention, Refused) {
  expect_refusals(shape_refusals());
}

TEST(Attention, PlainCallsHaveTheirShapes) {
  for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD, TW_PROBABILITIES}) {
    Attention call(operation);
    ASSERT_STREQ(call.check().sentence, "");
    const Problem& problem = call.problem;
    EXPECT_EQ(problem.operation, operation);
    EXPECT_EQ(problem.shape.batch, 2);
    EXPECT_EQ(problem.shape.queries, 5);
    EXPECT_EQ(problem.shape.keys, 7);
    EXPECT_EQ(problem.shape.group(), 2);
    EXPECT_EQ(problem.shape.dim, 8);
    EXPECT_EQ(problem.shape.value_dim, operation == TW_PROBABILITIES ? 0 : 16);
    EXPECT_EQ(problem.query.stride.batch, 160);
    EXPECT_EQ(problem.query.stride.row, 32);
    EXPECT_EQ(problem.query.stride.head, 8);
    EXPECT_EQ(problem.query.stride.column, 1);
    EXPECT_DOUBLE_EQ(problem.scores.scale, 1 / std::sqrt(8.0));
  }
}

TEST(Attention, ProbabilitiesLookAtNeitherValueNorLse) {
  Attention call(TW_PROBABILITIES);
  call.request.value.rank = 77;
  call.request.lse.dtype = 77;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_FALSE(call.problem.value);
  EXPECT_FALSE(call.problem.lse);
  EXPECT_EQ(call.problem.output.stride.head, 35);
  EXPECT_EQ(call.problem.output.stride.row, 7);
}

TEST(Attention, ProbabilitiesOfPackedCallsMayHaveRoomToSpare) {
  Attention call(TW_PROBABILITIES);
  call.pack_queries();
  call.pack_keys();
  EXPECT_STREQ(call.check().sentence, "") << "room for 5 and 7 where 3 and 7 are needed";
}

TEST(Attention, LseIsOptionalForward) {
  Attention call;
  call.request.lse = {};
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_FALSE(call.problem.lse);
}

TEST(Attention, DoubleQueriesMayHaveEitherLse) {
  for (const tw_dtype lse : {TW_FLOAT32, TW_FLOAT64}) {
    Attention call;
    call.request.query = call.memory.tensor(TW_FLOAT64, {2, 5, 4, 8});
    call.request.key = call.memory.tensor(TW_FLOAT64, {2, 7, 2, 8});
    call.request.value = call.memory.tensor(TW_FLOAT64, {2, 7, 2, 16});
    call.request.lse = call.memory.tensor(lse, {2, 4, 5});
    call.scores.sinks = call.memory.tensor(lse, {4});
    EXPECT_STREQ(call.check().sentence, "");
  }
}

TEST(Attention, OutputAndGradientsMayBeOfOtherTypes) {
  Attention call(TW_BACKWARD);
  call.request.output = call.memory.tensor(TW_FLOAT16, {2, 5, 4, 16});
  call.gradients.output = call.memory.tensor(TW_FLOAT8_E5M2, {2, 5, 4, 16});
  call.gradients.query = call.memory.tensor(TW_BFLOAT16, {2, 5, 4, 8});
  EXPECT_STREQ(call.check().sentence, "");
}

TEST(Attention, EmptyBatchesAndSequencesAreFine) {
  for (const std::int64_t batch : {0, 2}) {
    Attention call(TW_BACKWARD);
    call.request.query = call.memory.tensor(TW_FLOAT32, {batch, 0, 4, 8});
    call.request.key = call.memory.tensor(TW_FLOAT32, {batch, 7, 2, 8});
    call.request.value = call.memory.tensor(TW_FLOAT32, {batch, 7, 2, 16});
    call.request.output = call.memory.tensor(TW_FLOAT32, {batch, 0, 4, 16});
    call.request.lse = call.memory.tensor(TW_FLOAT32, {batch, 4, 0});
    call.gradients.output = call.memory.tensor(TW_FLOAT32, {batch, 0, 4, 16});
    call.gradients.output.data = nullptr;
    call.gradients.query = call.gradients.value = {};
    call.gradients.key = call.memory.tensor(TW_FLOAT32, {batch, 7, 2, 8});
    EXPECT_STREQ(call.check().sentence, "");
    EXPECT_EQ(call.problem.shape.batch, batch);
  }
}

TEST(Attention, ShapesAloneNeedNoMemory) {
  for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD, TW_PROBABILITIES}) {
    Attention call(operation);
    call.page_keys();
    call.forget_memory();
    ASSERT_STREQ(call.check().sentence, "");
    EXPECT_EQ(call.problem.shape.keys, 8);
    EXPECT_EQ(call.problem.query.data, nullptr);
  }
}

// The plan reads tables that have data even if the tensors have none, so they are checked.
TEST(Attention, ShapesAloneHaveTheirTablesCheckedWhereGiven) {
  Attention call;
  call.page_keys();
  call.buffers.given = false;
  ASSERT_STREQ(call.check().sentence, "");
  call.keys.used = call.memory.integers({5, 9});
  EXPECT_FALSE(call.check().ok());
}

}  // namespace
}  // namespace tilewise
