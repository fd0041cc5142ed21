#include <gtest/gtest.h>

#include "calls.h"

namespace tilewise {

Refusals rotary_refusals() {
  using R = Rotary;
  return {
      {"request is null: give a tw_rotary_request.", TW_INVALID,
       [] {
         RotaryProblem problem;
         Call call{Buffers{}};
         return check(static_cast<const tw_rotary_request*>(nullptr), call, problem);
       }},
      refuse<R>("set size to sizeof(tw_rotary_request).", [](R& r) { r.request.size = 8; }),
      refuse<R>("set size to sizeof(tw_rotation).", [](R& r) { r.rotation.size = 8; }),
      refuse<R>("sequences has size 8 but", [](R& r) { r.sequences.size = 8; }),
      refuse<R>("rotation is null: tw_rotary needs its tables.",
                [](R& r) { r.request.rotation = nullptr; }),
      refuse<R>("rotation.cosine is absent", [](R& r) { r.rotation.cosine = {}; }),
      refuse<R>("rotation.sine is absent", [](R& r) { r.rotation.sine = {}; }),
      refuse<R>("rotation.sine has shape (15, 3) but must be (16, 3): (positions, columns).",
                [](R& r) { r.rotation.sine.shape[0] = 15; }),
      refuse<R>("rotation.cosine has 0 columns: give at least 1, or no rotation.",
                [](R& r) { r.rotation.sine.shape[1] = r.rotation.cosine.shape[1] = 0; }),
      refuse<R>("rotation.cosine has dtype int32 but must be a float type.",
                [](R& r) { r.rotation.cosine.dtype = TW_INT32; }),
      refuse<R>("rotation.interleaved is 2: it must be 0 or 1.",
                [](R& r) { r.rotation.interleaved = 2; }),
      refuse<R>("input is absent", [](R& r) { r.request.input = {}; }),
      refuse<R>("output is absent", [](R& r) { r.request.output = {}; }),
      refuse<R>("input has rank 4 but must have rank 3: packed (tokens, heads, dim).",
                [](R& r) {
                  r.sequences.offsets = r.memory.integers({0, 1});
                }),
      refuse<R>("output has shape (2, 5, 3, 4) but must be (2, 5, 3, 8)",
                [](R& r) { r.request.output.shape[3] = 4; }),
      refuse<R>("input has 0 heads: at least 1 is needed.",
                [](R& r) { r.request.input.shape[2] = r.request.output.shape[2] = 0; }),
      refuse<R>("sequences.used[0] is 6 but sequence 0 has 5 rows",
                [](R& r) {
                  r.sequences.used = r.memory.integers({6, 5});
                }),
      refuse<R>("positions has shape (3) but must be (2): (batch).",
                [](R& r) {
                  r.request.positions = r.memory.integers({0, 0, 0});
                }),
      refuse<R>("fixed is 2: it must be 0 or 1.", [](R& r) { r.request.fixed = 2; }),
      refuse<R>("inverse is -1: it must be 0 or 1.", [](R& r) { r.request.inverse = -1; }),
      refuse<R>("rotation.cosine has 5 columns, which rotate 10 elements, but input has dim 8",
                [](R& r) {
                  r.rotation.cosine = r.memory.tensor(TW_FLOAT32, {16, 5});
                  r.rotation.sine = r.memory.tensor(TW_FLOAT32, {16, 5});
                }),
      refuse<R>("positions[1] is -1: it must be from 0 to below 2^40.",
                [](R& r) {
                  r.request.positions = r.memory.integers({0, -1});
                }),
      refuse<R>("positions[0] is 1099511627776: it must be from 0 to below 2^40.",
                [](R& r) {
                  r.request.positions = r.memory.integers({std::int64_t{1} << 40, 0});
                }),
      refuse<R>(
          "rotation.cosine has 16 positions but input of sequence 1 reaches position 16: give "
          "longer tables.",
          [](R& r) {
            r.request.positions = r.memory.integers({11, 12});
          }),
      refuse<R>("rotation.cosine has 16 positions but input of sequence 1 reaches position 16",
                [](R& r) {
                  r.request.fixed = 1;
                  r.request.positions = r.memory.integers({15, 16});
                }),
      refuse<R>("output and input share memory", [](R& r) { r.request.output = r.request.input; }),
      refuse<R>("output and positions share memory",
                [](R& r) { r.request.positions.data = r.request.output.data; }),
      refuse<R>("output and rotation.cosine share memory",
                [](R& r) { r.rotation.cosine.data = r.request.output.data; }),
  };
}

namespace {

TEST(RotaryCheck, Refused) {
  expect_refusals(rotary_refusals());
}

TEST(RotaryCheck, DenseRows) {
  Rotary call;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.batch, 2);
  EXPECT_EQ(call.problem.heads, 3);
  EXPECT_EQ(call.problem.dim, 8);
  EXPECT_EQ(call.problem.rotation.pairs(), 3);
  EXPECT_EQ(call.problem.rotation.cosine.stride.row, 3);
  EXPECT_EQ(call.problem.output.dtype, DType::kBFloat16);
}

TEST(RotaryCheck, PackedRowsWithoutPositions) {
  Rotary call;
  call.sequences.offsets = call.memory.integers({0, 1, 11});
  call.request.input = call.memory.tensor(TW_FLOAT32, {12, 3, 8});
  call.request.output = call.memory.tensor(TW_FLOAT32, {12, 3, 8});
  call.request.positions = {};
  call.request.inverse = 1;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.batch, 2);
  EXPECT_TRUE(call.problem.inverse);
  EXPECT_FALSE(call.problem.positions);
}

TEST(RotaryCheck, SequencesWithoutRowsTakeNoPosition) {
  Rotary call;
  call.request.positions = call.memory.integers({99, 0});
  call.sequences.used = call.memory.integers({0, 5});
  EXPECT_STREQ(call.check().sentence, "");
}

TEST(RotaryCheck, MoreSequencesThanCanBeCountedThroughAreAnsweredAtOnce) {
  Rotary call;
  call.request.positions = {};
  for (tw_tensor* tensor : {&call.request.input, &call.request.output}) {
    tensor->shape[0] = std::int64_t{1} << 39;
    tensor->shape[1] = 0;
  }
  ASSERT_STREQ(call.check().sentence, "");
  call.request.input.shape[1] = call.request.output.shape[1] = 17;
  call.request.input.stride[0] = 0;
  call.request.input.byte_size = call.request.output.byte_size = 0;
  EXPECT_EQ(std::string(call.check().sentence)
                .rfind("rotation.cosine has 16 positions but input of sequence 0 reaches", 0),
            0u);
}

TEST(RotaryCheck, FixedRowsTakeOnePositionEach) {
  Rotary call;
  call.request.positions = call.memory.integers({15, 15});
  call.request.fixed = 1;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_TRUE(call.problem.fixed);
}

}  // namespace
}  // namespace tilewise
