#include <gtest/gtest.h>

#include "calls.h"

namespace tilewise {

Refusals mask_refusals() {
  using A = Attention;
  constexpr std::int64_t kBeyond = (std::int64_t{1} << 40) + 1;
  const auto blocks = [](A& a) {
    a.mask.blocks = a.memory.tensor(TW_BOOL, {2, 4, 1, 1});
    a.mask.block_query = a.mask.block_key = 16;
  };
  return {
      refuse(TW_FORWARD, "mask.left is 3 but mask.has_left is 0: set that to 1, or left to 0.",
             [](A& a) { a.mask.left = 3; }),
      refuse(TW_FORWARD, "mask.right is -1 but mask.has_right is 0: set that to 1, or right to 0.",
             [](A& a) { a.mask.right = -1; }),
      refuse(TW_FORWARD, "mask.left is 1099511627777: it must be from -2^40 to 2^40.",
             [=](A& a) {
               a.mask.has_left = 1;
               a.mask.left = kBeyond;
             }),
      refuse(TW_FORWARD, "mask.right is -1099511627777: it must be from -2^40 to 2^40.",
             [=](A& a) {
               a.mask.has_right = 1;
               a.mask.right = -kBeyond;
             }),
      refuse(TW_FORWARD, "mask.diagonal is 3: it must be TW_BOTTOM_RIGHT (0)",
             [](A& a) { a.mask.diagonal = 3; }),
      refuse(TW_FORWARD, "mask.diagonal is -1: it must be TW_BOTTOM_RIGHT (0)",
             [](A& a) { a.mask.diagonal = -1; }),
      refuse(TW_FORWARD, "mask.shift is 4 but mask.diagonal is not TW_SHIFTED",
             [](A& a) { a.mask.shift = 4; }),
      refuse(TW_FORWARD, "mask.shift is 1099511627777: it must be from -2^40 to 2^40.",
             [=](A& a) {
               a.mask.diagonal = TW_SHIFTED;
               a.mask.shift = kBeyond;
             }),
      refuse(TW_FORWARD, "mask.chunk is -1: it must be from 0 (none) to 2^40.",
             [](A& a) { a.mask.chunk = -1; }),
      refuse(TW_FORWARD, "mask.chunk is 1099511627777: it must be from 0 (none) to 2^40.",
             [=](A& a) { a.mask.chunk = kBeyond; }),
      refuse(TW_FORWARD,
             "mask.visible has shape (2, 4, 5, 6) but must be (2 or 1, 4 or 1, 5 or 1, 7 or 1): "
             "(batch, heads, queries, keys).",
             [](A& a) {
               a.mask.visible = a.memory.tensor(TW_BOOL, {2, 4, 5, 6});
             }),
      refuse(TW_FORWARD, "mask.visible has shape (1, 2, 1, 7) but must be",
             [](A& a) {
               a.mask.visible = a.memory.tensor(TW_BOOL, {1, 2, 1, 7});
             }),
      refuse(TW_FORWARD,
             "mask.visible has shape (1, 1, 2, 8) but must be (2 or 1, 4 or 1, at least 3 or 1, 7 "
             "or 1)",
             [](A& a) {
               a.pack_queries();
               a.mask.visible = a.memory.tensor(TW_BOOL, {1, 1, 2, 8});
             }),
      refuse(TW_FORWARD, "mask.block_query is 32 but mask.blocks is absent",
             [](A& a) { a.mask.block_query = 32; }),
      refuse(TW_FORWARD, "mask.block_key is -1 but mask.blocks is absent",
             [](A& a) { a.mask.block_key = -1; }),
      refuse(TW_FORWARD, "mask.block_query is 24: it must be a positive multiple of 16.",
             [=](A& a) {
               blocks(a);
               a.mask.block_query = 24;
             }),
      refuse(TW_FORWARD, "mask.block_key is 0: it must be a positive multiple of 16.",
             [=](A& a) {
               blocks(a);
               a.mask.block_key = 0;
             }),
      refuse(TW_FORWARD, "mask.block_key is -16: it must be a positive multiple of 16.",
             [=](A& a) {
               blocks(a);
               a.mask.block_key = -16;
             }),
      refuse(TW_FORWARD,
             "mask.blocks has shape (2, 4, 1, 2) but must be (2, 4, 1, 1): (batch, heads, query "
             "blocks, key blocks).",
             [=](A& a) {
               blocks(a);
               a.mask.blocks = a.memory.tensor(TW_BOOL, {2, 4, 1, 2});
             }),
      refuse(TW_FORWARD, "mask.blocks has shape (1, 2, 1, 1) but must be (1, 4, 1, 1)",
             [=](A& a) {
               blocks(a);
               a.mask.blocks = a.memory.tensor(TW_BOOL, {1, 2, 1, 1});
             }),
      refuse(TW_FORWARD, "mask.blocks has dtype int32 but must be bool.",
             [=](A& a) {
               blocks(a);
               a.mask.blocks = a.memory.tensor(TW_INT32, {2, 4, 1, 1});
             }),
  };
}

namespace {

TEST(Mask, Refused) {
  expect_refusals(mask_refusals());
}

TEST(Mask, UnlimitedSidesReachBeyondAnyIndex) {
  Attention call;
  call.mask.has_right = 1;
  call.mask.right = -1;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(call.problem.mask.left, core::kUnlimited);
  EXPECT_EQ(call.problem.mask.right, -1);
}

TEST(Mask, BroadcastAxesHaveStrideZero) {
  Attention call;
  call.mask.visible = call.memory.tensor(TW_BOOL, {1, 4, 1, 7});
  call.mask.visible.stride[0] = call.mask.visible.stride[2] = 12345;
  ASSERT_STREQ(call.check().sentence, "");
  const View& visible = call.problem.mask.visible;
  EXPECT_EQ(visible.stride.batch, 0);
  EXPECT_EQ(visible.stride.head, 7);
  EXPECT_EQ(visible.stride.row, 0);
  EXPECT_EQ(visible.stride.column, 1);
}

TEST(Mask, MayBeLargerThanPackedAndCachedSequences) {
  Attention packed, cached;
  packed.pack_queries();
  packed.pack_keys();
  packed.mask.visible = packed.memory.tensor(TW_BOOL, {1, 1, 64, 64});
  packed.mask.blocks = packed.memory.tensor(TW_BOOL, {1, 1, 4, 2});
  packed.mask.block_query = 16;
  packed.mask.block_key = 32;
  EXPECT_STREQ(packed.check().sentence, "");
  cached.index_keys();
  cached.mask.visible = cached.memory.tensor(TW_BOOL, {1, 1, 5, 64});
  EXPECT_STREQ(cached.check().sentence, "");
}

}  // namespace
}  // namespace tilewise
