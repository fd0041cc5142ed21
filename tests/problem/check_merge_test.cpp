#include <gtest/gtest.h>

#include "calls.h"

namespace tilewise {

Refusals merge_refusals() {
  using M = Merge;
  return {
      {"request is null: give a tw_merge_request.", TW_INVALID,
       [] {
         MergeProblem problem;
         Call call{Buffers{}};
         return check(static_cast<const tw_merge_request*>(nullptr), call, problem);
       }},
      refuse<M>("set size to sizeof(tw_merge_request).", [](M& m) { m.request.size = 8; }),
      refuse<M>("parts is 0: there must be at least 1.", [](M& m) { m.request.parts = 0; }),
      refuse<M>("parts is -2: there must be at least 1.", [](M& m) { m.request.parts = -2; }),
      refuse<M>("outputs or lses is null: each must point to as many tensors as there are parts.",
                [](M& m) { m.request.outputs = nullptr; }),
      refuse<M>("outputs or lses is null", [](M& m) { m.request.lses = nullptr; }),
      refuse<M>("output is absent", [](M& m) { m.request.output = {}; }),
      refuse<M>("output has 4 heads of dim 0: each must be at least 1.",
                [](M& m) { m.request.output.shape[3] = 0; }),
      refuse<M>("output has 0 heads of dim 8", [](M& m) { m.request.output.shape[2] = 0; }),
      refuse<M>("lse has shape (2, 4, 4) but must be (2, 4, 5)",
                [](M& m) { m.request.lse.shape[2] = 4; }),
      refuse<M>("lse has dtype float16 but must be float32 or float64.",
                [](M& m) { m.request.lse.dtype = TW_FLOAT16; }),
      refuse<M>("sinks has shape (3) but must be (4): (heads).",
                [](M& m) { m.request.sinks = m.memory.tensor(TW_FLOAT32, {3}); }),
      refuse<M>("outputs[1] is absent", [](M& m) { m.outputs[1] = {}; }),
      refuse<M>("lses[2] is absent", [](M& m) { m.lses[2] = {}; }),
      refuse<M>("outputs[2] has shape (2, 5, 4, 4) but must be (2, 5, 4, 8)",
                [](M& m) { m.outputs[2].shape[3] = 4; }),
      refuse<M>("outputs[0] has rank 3 but must have rank 4: (batch, length, heads, dim).",
                [](M& m) {
                  m.outputs[0] = m.memory.tensor(TW_FLOAT16, {5, 4, 8});
                }),
      refuse<M>("outputs[0] has rank 4 but must have rank 3: packed (tokens, heads, dim).",
                [](M& m) {
                  m.request.output = m.memory.tensor(TW_FLOAT16, {5, 4, 8});
                  m.request.lse = m.memory.tensor(TW_FLOAT32, {4, 5});
                }),
      refuse<M>("lses[1] has shape (1, 4, 5) but must be (2, 4, 5)",
                [](M& m) { m.lses[1].shape[0] = 1; }),
      refuse<M>("lses[0] has dtype bool but must be float32 or float64.",
                [](M& m) { m.lses[0].dtype = TW_BOOL; }),
      refuse<M>("output visits a byte more than once",
                [](M& m) { m.request.output.stride[0] = 0; }),
      refuse<M>("output and outputs[2] share memory",
                [](M& m) { m.outputs[2].data = m.request.output.data; }),
      refuse<M>("lse and lses[0] share memory", [](M& m) { m.lses[0].data = m.request.lse.data; }),
  };
}

namespace {

TEST(MergeCheck, Refused) {
  expect_refusals(merge_refusals());
}

TEST(MergeCheck, DenseParts) {
  Merge call;
  call.outputs[1].stride[0] = 0;
  call.request.sinks = call.memory.tensor(TW_FLOAT32, {4});
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.batch, 2);
  EXPECT_EQ(call.problem.tokens, 5);
  EXPECT_EQ(call.problem.heads, 4);
  EXPECT_EQ(call.problem.value_dim, 8);
  EXPECT_EQ(call.problem.part_output(1).stride.batch, 0);
  EXPECT_EQ(call.problem.part_output(2).stride.row, 32);
  EXPECT_EQ(call.problem.part_output(2).data, static_cast<std::byte*>(call.outputs[2].data));
  EXPECT_EQ(call.problem.part_lse(0).stride.head, 5);
  EXPECT_TRUE(call.problem.sinks);
}

TEST(MergeCheck, PackedPartsOfManyKinds) {
  Merge call;
  call.outputs.assign(200, call.memory.tensor(TW_BFLOAT16, {9, 4, 8}));
  call.lses.assign(200, call.memory.tensor(TW_FLOAT64, {4, 9}));
  call.outputs[150] = call.memory.tensor(TW_FLOAT32, {9, 4, 8});
  call.request.outputs = call.outputs.data();
  call.request.lses = call.lses.data();
  call.request.parts = 200;
  call.request.output = call.memory.tensor(TW_FLOAT32, {9, 4, 8});
  call.request.lse = {};
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.batch, 1);
  EXPECT_EQ(call.problem.tokens, 9);
  EXPECT_EQ(call.problem.part_output(150).dtype, DType::kFloat32);
  EXPECT_EQ(call.problem.part_lse(3).stride.head, 9);
  EXPECT_EQ(call.problem.part_lse(3).stride.batch, 0);
}

}  // namespace
}  // namespace tilewise
