#include <gtest/gtest.h>

#include <cmath>

#include "calls.h"
#include "host/draw.h"

namespace tilewise {

Refusals score_refusals() {
  using A = Attention;
  return {
      refuse(TW_FORWARD,
             "scores.scale is 0.5 but scores.has_scale is 0: set that to 1, or scale to 0.",
             [](A& a) { a.scores.scale = 0.5; }),
      refuse(TW_FORWARD, "scores.scale is inf: it must be finite.",
             [](A& a) {
               a.scores.has_scale = 1;
               a.scores.scale = INFINITY;
             }),
      refuse(TW_FORWARD, "nan: it must be finite.",
             [](A& a) {
               a.scores.has_scale = 1;
               a.scores.scale = NAN;
             }),
      refuse(TW_FORWARD, "scores.softcap is -1: it must be finite and not negative (0 is none).",
             [](A& a) { a.scores.softcap = -1; }),
      refuse(TW_FORWARD, "scores.softcap is inf: it must be finite",
             [](A& a) { a.scores.softcap = INFINITY; }),
      refuse(TW_FORWARD,
             "scores.softcap is 1e-50, which float32 cannot hold: with these inputs scores are "
             "float32.",
             [](A& a) { a.scores.softcap = 1e-50; }),
      refuse(TW_FORWARD, "scores.scale is 1e+39, which float32 cannot hold",
             [](A& a) {
               a.scores.has_scale = 1;
               a.scores.scale = 1e39;
             }),
      refuse(TW_FORWARD, "scores.slopes has shape (2) but must be (4): (heads).",
             [](A& a) { a.scores.slopes = a.memory.tensor(TW_FLOAT32, {2}); }),
      refuse(TW_FORWARD, "scores.slopes has shape (1, 4) but must be (2, 4): (batch, heads).",
             [](A& a) {
               a.scores.slopes = a.memory.tensor(TW_FLOAT32, {1, 4});
             }),
      refuse(TW_FORWARD, "scores.slopes has rank 3 but must have rank 1: (heads).",
             [](A& a) {
               a.scores.slopes = a.memory.tensor(TW_FLOAT32, {1, 2, 4});
             }),
      refuse(TW_FORWARD, "scores.slopes has dtype float64 but must be float32.",
             [](A& a) { a.scores.slopes = a.memory.tensor(TW_FLOAT64, {4}); }),
      refuse(TW_FORWARD,
             "scores.bias has shape (2, 4, 5, 8) but must be (2 or 1, 4 or 1, 5 or 1, 7 or 1)",
             [](A& a) {
               a.scores.bias = a.memory.tensor(TW_FLOAT16, {2, 4, 5, 8});
             }),
      refuse(
          TW_FORWARD,
          "scores.bias has shape (2, 4, 5, 7) but must be (2 or 1, 4 or 1, 5 or 1, at least 8 or "
          "1)",
          [](A& a) {
            a.page_keys();
            a.scores.bias = a.memory.tensor(TW_FLOAT16, {2, 4, 5, 7});
          }),
      refuse(TW_FORWARD, "scores.bias has dtype bool but must be a float type.",
             [](A& a) {
               a.scores.bias = a.memory.tensor(TW_BOOL, {2, 4, 5, 7});
             }),
      refuse(TW_FORWARD, "scores.sinks has shape (2) but must be (4): (heads).",
             [](A& a) { a.scores.sinks = a.memory.tensor(TW_FLOAT32, {2}); }),
      refuse(TW_FORWARD, "scores.sinks has rank 2 but must have rank 1: (heads).",
             [](A& a) {
               a.scores.sinks = a.memory.tensor(TW_FLOAT32, {2, 4});
             }),
      refuse(TW_FORWARD, "scores.sinks has dtype bfloat16 but must be float32.",
             [](A& a) { a.scores.sinks = a.memory.tensor(TW_BFLOAT16, {4}); }),
      refuse(TW_FORWARD, "dropout.probability is 1: it must be at least 0 and below 1.",
             [](A& a) { a.dropout.probability = 1; }),
      refuse(TW_FORWARD, "dropout.probability is -0.1: it must be at least 0 and below 1.",
             [](A& a) { a.dropout.probability = -0.1; }),
      refuse(TW_FORWARD, "nan: it must be at least 0 and below 1.",
             [](A& a) { a.dropout.probability = NAN; }),
      refuse(
          TW_FORWARD,
          "dropout.probability is 0.999999, which rounds to 1 in steps of 1/65536: nothing would "
          "be left.",
          [](A& a) { a.dropout.probability = 0.999999; }),
      refuse(TW_FORWARD, "dropout.base[2] is -1: it must be from 0 to 2^32 - 1.",
             [](A& a) { a.dropout.base[2] = -1; }),
      refuse(TW_FORWARD, "dropout.base[3] is 4294967296: it must be from 0 to 2^32 - 1.",
             [](A& a) { a.dropout.base[3] = std::int64_t{1} << 32; }),
      refuse(TW_FORWARD, "dropout.state lies at an address that is no multiple of 8: align it.",
             [](A& a) {
               const auto address = reinterpret_cast<std::uintptr_t>(a.state) + 4;
               a.dropout.state = reinterpret_cast<const std::uint64_t*>(address);
             }),
      refuse(TW_FORWARD,
             "scaling.query has shape (2, 4) but must be (2 or 1, 2 or 1): (batch, key heads).",
             [](A& a) {
               a.scaling.query = a.memory.tensor(TW_FLOAT32, {2, 4});
             }),
      refuse(TW_FORWARD, "scaling.key has shape (3, 2) but must be (2 or 1, 2 or 1)",
             [](A& a) {
               a.scaling.key = a.memory.tensor(TW_FLOAT32, {3, 2});
             }),
      refuse(TW_FORWARD, "scaling.value has dtype float16 but must be float32.",
             [](A& a) {
               a.scaling.value = a.memory.tensor(TW_FLOAT16, {2, 2});
             }),
      refuse(TW_BACKWARD, "scaling.output_gradient has rank 1 but must have rank 2",
             [](A& a) { a.scaling.output_gradient = a.memory.tensor(TW_FLOAT32, {1}); }),
      refuse(TW_FORWARD, "scaling.output_gradient is given but this call has no gradients",
             [](A& a) {
               a.scaling.output_gradient = a.memory.tensor(TW_FLOAT32, {1, 1});
             }),
  };
}

namespace {

TEST(Scores, Refused) {
  expect_refusals(score_refusals());
}

TEST(Scores, GivenScaleIsTaken) {
  Attention call;
  call.scores.has_scale = 1;
  call.scores.scale = -2;
  call.scores.softcap = 30;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.scores.scale, -2);
  EXPECT_EQ(call.problem.scores.softcap, 30);
}

TEST(Scores, SlopesOfHeadsAloneServeEveryBatch) {
  Attention call;
  call.scores.slopes = call.memory.tensor(TW_FLOAT32, {4});
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.scores.slopes.stride.batch, 0);
  EXPECT_EQ(call.problem.scores.slopes.stride.head, 1);
  call.scores.slopes = call.memory.tensor(TW_FLOAT32, {2, 4});
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.scores.slopes.stride.batch, 4);
}

TEST(Scores, FactorsAreBroadcastOverWhatTheyLack) {
  Attention call(TW_BACKWARD);
  call.scaling.query = call.memory.tensor(TW_FLOAT32, {1, 1});
  call.scaling.value = call.memory.tensor(TW_FLOAT32, {2, 1});
  call.scaling.output_gradient = call.memory.tensor(TW_FLOAT32, {2, 2});
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.scaling.query.stride.batch, 0);
  EXPECT_EQ(call.problem.scaling.value.stride.batch, 1);
  EXPECT_EQ(call.problem.scaling.value.stride.head, 0);
  EXPECT_EQ(call.problem.scaling.output_gradient.stride.head, 1);
}

TEST(Dropout, TakesItsSeedFromWhereItIsGiven) {
  Attention call;
  call.dropout.probability = 0.25;
  call.dropout.seed = 11;
  call.dropout.offset = 12;
  call.dropout.base[1] = 5;
  const auto agrees = [&](core::uint64 seed, core::uint64 offset) {
    const core::Dropout expected(seed, offset, 16384);
    return with_dropout(call.problem, [&](const Problem& drawn) {
      bool same = true;
      for (int64 j = 0; j < 256; ++j)
        same = same && expected.keeps(1, 2, 3, j) == drawn.dropout.decide.keeps(1, 2, 3, j);
      return same;
    });
  };
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_TRUE(agrees(11, 12));
  EXPECT_EQ(call.problem.dropout.base[1], 5);
  call.dropout.state = call.state;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_TRUE(agrees(3, 4));
}

TEST(Dropout, RoundsToSteps) {
  Attention call;
  call.dropout.probability = 1e-6;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_FALSE(call.problem.dropout.decide.active());
  call.dropout.probability = 1e-5;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_DOUBLE_EQ(call.problem.dropout.decide.scale(), 65536.0 / 65535.0);
}

}  // namespace
}  // namespace tilewise
