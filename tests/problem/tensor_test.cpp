#include "problem/tensor.h"

#include <gtest/gtest.h>

#include "calls.h"

namespace tilewise {

Refusals tensor_refusals() {
  using A = Attention;
  constexpr std::int64_t kFar = std::int64_t{1} << 40;
  return {
      refuse(TW_FORWARD, "query has rank 3 but must have rank 4: (batch, length, heads, dim).",
             [](A& a) { a.request.query.rank = 3; }),
      refuse(TW_FORWARD, "query has rank 5 but must have rank 4",
             [](A& a) { a.request.query.rank = 5; }),
      refuse(TW_FORWARD, "query has rank -1 but must have rank 4",
             [](A& a) { a.request.query.rank = -1; }),
      refuse(TW_FORWARD, "key has rank 4 but must have rank 3: packed (tokens, heads, dim).",
             [](A& a) {
               a.keys.offsets = a.memory.integers({0, 1, 2});
             }),
      refuse(
          TW_FORWARD, "value uses reserved bytes of tw_tensor, which belong to a newer tilewise",
          [](A& a) { a.request.value.reserved[3] = 1; }, TW_UNSUPPORTED),
      refuse(TW_FORWARD, "query has dtype 77, which is no tw_dtype: it must be a float type.",
             [](A& a) { a.request.query.dtype = 77; }),
      refuse(TW_FORWARD, "output has dtype 0, which is no tw_dtype",
             [](A& a) { a.request.output.dtype = 0; }),
      refuse(TW_FORWARD, "query has dtype int64 but must be a float type.",
             [](A& a) { a.request.query.dtype = TW_INT64; }),
      refuse(TW_FORWARD, "lse has dtype float64 but must be float32.",
             [](A& a) {
               a.request.lse = a.memory.tensor(TW_FLOAT64, {2, 4, 5});
             }),
      refuse(TW_FORWARD, "lse has dtype bfloat16 but must be float32 or float64.",
             [](A& a) {
               a.request.query.dtype = TW_FLOAT64;
               a.request.query.byte_size = 0;
               a.request.lse.dtype = TW_BFLOAT16;
             }),
      refuse(TW_FORWARD, "mask.visible has dtype float32 but must be bool.",
             [](A& a) {
               a.mask.visible = a.memory.tensor(TW_FLOAT32, {2, 4, 5, 7});
             }),
      refuse(TW_FORWARD, "queries.used has dtype float64 but must be int32 or int64.",
             [](A& a) { a.queries.used = a.memory.tensor(TW_FLOAT64, {2}); }),
      refuse(TW_FORWARD, "key has size -7 in dimension 1: sizes must be 0 or more.",
             [](A& a) { a.request.key.shape[1] = -7; }),
      refuse(TW_FORWARD, "key has size 1099511627776 in dimension 1: sizes must be below 2^40.",
             [=](A& a) { a.request.key.shape[1] = kFar; }),
      refuse(TW_FORWARD,
             "key has stride 2 in its last dimension: that dimension must be contiguous",
             [](A& a) { a.request.key.stride[3] = 2; }),
      refuse(TW_FORWARD, "key has stride -1 in its last dimension",
             [](A& a) { a.request.key.stride[3] = -1; }),
      refuse(TW_FORWARD, "key has stride 0 in its last dimension",
             [](A& a) { a.request.key.stride[3] = 0; }),
      refuse(TW_FORWARD, "value has byte_offset 0 and byte_size -1: neither may be negative.",
             [](A& a) { a.request.value.byte_size = -1; }),
      refuse(TW_FORWARD, "value has byte_offset -4 and byte_size 1792: neither may be negative.",
             [](A& a) { a.request.value.byte_offset = -4; }),
      refuse(TW_FORWARD, "value has byte_offset 2305843009213693952: it must be at most 2^60.",
             [](A& a) { a.request.value.byte_offset = std::int64_t{1} << 61; }),
      refuse(TW_FORWARD, "value reaches over more than 2^60 bytes by its shape and strides",
             [](A& a) { a.request.value.stride[1] = std::int64_t{1} << 62; }),
      refuse(TW_FORWARD, "value reaches over more than 2^60 bytes by its shape and strides",
             [](A& a) { a.request.value.stride[1] = INT64_MIN; }),
      refuse(TW_FORWARD, "value reaches over more than 2^60 bytes by its shape and strides",
             [](A& a) {
               a.request.value.stride[0] = (std::int64_t{1} << 58) + 1;
               a.request.value.byte_size = 0;
             }),
      refuse(TW_FORWARD,
             "query touches bytes 4 to 1283 by its shape and strides, but its buffer has 1280 "
             "bytes (byte_size): it must stay inside.",
             [](A& a) { a.request.query.byte_offset = 4; }),
      refuse(TW_FORWARD,
             "query touches bytes 0 to 1279 by its shape and strides, but its buffer "
             "has 1279 bytes",
             [](A& a) { a.request.query.byte_size = 1279; }),
      refuse(TW_FORWARD, "query touches bytes -512 to 767 by its shape and strides",
             [](A& a) { a.request.query.stride[1] = -32; }),
      refuse(TW_FORWARD, "query has no data: its pointer is null.",
             [](A& a) { a.request.query.data = nullptr; }),
      refuse(TW_FORWARD, "queries.used has no data: its pointer is null.",
             [](A& a) {
               a.queries.used = a.memory.integers({5, 5});
               a.queries.used.data = nullptr;
             }),
      refuse(TW_FORWARD,
             "query begins at an address that is no multiple of 4, the bytes of its float32 "
             "elements: align it.",
             [](A& a) {
               a.request.query.byte_size = 0;
               a.request.query.byte_offset = 2;
             }),
  };
}

namespace {

TEST(Tensor, Refused) {
  expect_refusals(tensor_refusals());
}

TEST(Tensor, AxesThatActOnNothingGetStrideZero) {
  Attention call;
  call.request.query = call.memory.tensor(TW_FLOAT32, {2, 1, 4, 8});
  call.request.output = call.memory.tensor(TW_FLOAT32, {2, 1, 4, 16});
  call.request.lse = call.memory.tensor(TW_FLOAT32, {2, 4, 1});
  call.request.query.stride[1] = INT64_MAX;
  call.request.lse.stride[2] = INT64_MIN;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.query.stride.row, 0);
  EXPECT_EQ(call.problem.query.stride.batch, 32);
  EXPECT_EQ(call.problem.lse.stride.row, 0);
  EXPECT_EQ(call.problem.lse.size.row, 1);
}

TEST(Tensor, EmptyOnesNeedNoMemoryAndNoStrides) {
  Attention call;
  for (tw_tensor* tensor : {&call.request.key, &call.request.value}) {
    tensor->shape[1] = 0;
    tensor->data = nullptr;
    tensor->stride[0] = INT64_MAX;
    tensor->stride[3] = 5;
  }
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.shape.keys, 0);
  EXPECT_EQ(call.problem.key.stride.batch, 0);
  EXPECT_EQ(call.problem.key.stride.column, 0);
}

TEST(Tensor, NegativeStridesStayInsideFromTheirOffset) {
  Attention call;
  tw_tensor& query = call.request.query;
  query.byte_offset = 4 * 4 * 32;
  query.stride[1] = -32;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.query.stride.row, -32);
  EXPECT_EQ(call.problem.query.data, static_cast<std::byte*>(query.data) + 4 * 4 * 32);
}

TEST(Tensor, UnknownExtentsAreNotChecked) {
  Attention call;
  call.request.query.byte_size = 0;
  call.request.query.stride[1] = -32;
  EXPECT_TRUE(call.check().ok());
}

TEST(Tensor, InputsMayBroadcastByStrideZero) {
  Attention call;
  call.request.key.stride[0] = call.request.key.stride[2] = 0;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.key.size.head, 2);
  EXPECT_EQ(call.problem.key.stride.head, 0);
}

TEST(Tensor, EveryDtypeHasItsName) {
  EXPECT_STREQ(name_of(DType::kFloat8E5M2), "float8_e5m2");
  EXPECT_STREQ(name_of(DType::kInt64), "int64");
}

}  // namespace
}  // namespace tilewise
