#include <gtest/gtest.h>

#include "calls.h"

namespace tilewise {

Refusals gradient_refusals() {
  using A = Attention;
  return {
      refuse(TW_FORWARD, "gradients is given but only tw_backward computes them",
             [](A& a) { a.request.gradients = &a.gradients; }),
      refuse(TW_PROBABILITIES, "gradients is given but only tw_backward computes them",
             [](A& a) { a.request.gradients = &a.gradients; }),
      refuse(TW_BACKWARD, "gradients is null: tw_backward needs it.",
             [](A& a) { a.request.gradients = nullptr; }),
      refuse(TW_BACKWARD, "gradients.output is absent", [](A& a) { a.gradients.output = {}; }),
      refuse(TW_BACKWARD, "gradients.output has shape (2, 5, 4, 8) but must be (2, 5, 4, 16)",
             [](A& a) { a.gradients.output.shape[3] = 8; }),
      refuse(TW_BACKWARD, "gradients.lse has shape (2, 4, 4) but must be (2, 4, 5)",
             [](A& a) {
               a.gradients.lse = a.memory.tensor(TW_FLOAT32, {2, 4, 4});
             }),
      refuse(TW_BACKWARD, "gradients.lse has dtype float64 but must be float32.",
             [](A& a) {
               a.gradients.lse = a.memory.tensor(TW_FLOAT64, {2, 4, 5});
             }),
      refuse(TW_BACKWARD, "gradients wants nothing: give at least one of query, key",
             [](A& a) { a.gradients.query = a.gradients.key = a.gradients.value = {}; }),
      refuse(TW_BACKWARD, "gradients.query has shape (2, 5, 4, 4) but must be (2, 5, 4, 8)",
             [](A& a) { a.gradients.query.shape[3] = 4; }),
      refuse(TW_BACKWARD, "gradients.key has shape (2, 6, 2, 8) but must be (2, 7, 2, 8)",
             [](A& a) { a.gradients.key.shape[1] = 6; }),
      refuse(TW_BACKWARD,
             "gradients.key has shape (4, 4, 2, 8) but must be (5, 4, 2, 8): paged (pages",
             [](A& a) {
               a.page_keys();
               a.gradients.key.shape[0] = 4;
             }),
      refuse(TW_BACKWARD, "gradients.value has dtype int32 but must be a float type.",
             [](A& a) { a.gradients.value.dtype = TW_INT32; }),
      refuse(TW_BACKWARD,
             "gradients.bias is wanted but scores.bias is absent: give both or neither.",
             [](A& a) {
               a.gradients.bias = a.memory.tensor(TW_FLOAT32, {1, 4, 5, 7});
             }),
      refuse(TW_BACKWARD, "gradients.bias has shape (2, 4, 5, 7) but must be (1, 4, 5, 7)",
             [](A& a) {
               a.scores.bias = a.memory.tensor(TW_FLOAT32, {1, 4, 5, 7});
               a.gradients.bias = a.memory.tensor(TW_FLOAT32, {2, 4, 5, 7});
             }),
      refuse(TW_BACKWARD, "gradients.slopes is wanted but scores.slopes is absent",
             [](A& a) { a.gradients.slopes = a.memory.tensor(TW_FLOAT32, {4}); }),
      refuse(TW_BACKWARD, "gradients.slopes has rank 1 but must have rank 2: (batch, heads).",
             [](A& a) {
               a.scores.slopes = a.memory.tensor(TW_FLOAT32, {2, 4});
               a.gradients.slopes = a.memory.tensor(TW_FLOAT32, {4});
             }),
      refuse(TW_BACKWARD, "gradients.sinks is wanted but scores.sinks is absent",
             [](A& a) { a.gradients.sinks = a.memory.tensor(TW_FLOAT32, {4}); }),
      refuse(TW_BACKWARD, "gradients.sinks has shape (2) but must be (4): (heads).",
             [](A& a) {
               a.scores.sinks = a.memory.tensor(TW_FLOAT32, {4});
               a.gradients.sinks = a.memory.tensor(TW_FLOAT32, {2});
             }),
  };
}

namespace {

TEST(Gradients, Refused) {
  expect_refusals(gradient_refusals());
}

TEST(Gradients, AllOfThemAtOnce) {
  Attention call(TW_BACKWARD);
  call.pack_queries();
  call.pack_keys();
  call.scores.bias = call.memory.tensor(TW_BFLOAT16, {1, 4, 1, 12});
  call.scores.slopes = call.memory.tensor(TW_FLOAT32, {2, 4});
  call.scores.sinks = call.memory.tensor(TW_FLOAT32, {4});
  call.gradients.lse = call.memory.tensor(TW_FLOAT32, {4, 6});
  call.gradients.bias = call.memory.tensor(TW_FLOAT32, {1, 4, 1, 12});
  call.gradients.slopes = call.memory.tensor(TW_FLOAT32, {2, 4});
  call.gradients.sinks = call.memory.tensor(TW_FLOAT64, {4});
  ASSERT_STREQ(call.check().sentence, "");
  const Gradients& gradients = call.problem.gradients;
  EXPECT_EQ(gradients.key.stride.row, 16);
  EXPECT_EQ(gradients.bias.stride.row, 0);
  EXPECT_EQ(gradients.bias.stride.head, 12);
  EXPECT_EQ(gradients.slopes.stride.batch, 4);
  EXPECT_EQ(gradients.lse.stride.head, 6);
}

TEST(Gradients, OneIsEnough) {
  Attention call(TW_BACKWARD);
  call.gradients.query = call.gradients.key = {};
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_FALSE(call.problem.gradients.query);
}

}  // namespace
}  // namespace tilewise
