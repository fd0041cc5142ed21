// The masks of each sequence and head of a checked problem.
#include "host/masks.h"

#include <gtest/gtest.h>

#include "calls.h"

namespace tilewise {
namespace {

TEST(Masks, BandsFollowEachSequence) {
  Attention call;
  call.pack_queries();
  call.pack_keys();
  call.mask.has_left = call.mask.has_right = 1;
  call.mask.left = 2;
  call.mask.chunk = 5;
  ASSERT_STREQ(call.check().sentence, "");
  const core::Band band = band_of(call.problem, 1);
  EXPECT_EQ(band.queries, 2);
  EXPECT_EQ(band.keys, 7);
  EXPECT_EQ(band.left, 2);
  EXPECT_EQ(band.right, 0);
  EXPECT_EQ(band.chunk, 5);
  EXPECT_EQ(band.diagonal, 5);
  EXPECT_EQ(band_of(call.problem, 0).diagonal, 0);
}

TEST(Masks, DiagonalsOfEachKind) {
  Attention call;
  call.mask.diagonal = TW_TOP_LEFT;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(band_of(call.problem, 0).diagonal, 0);
  call.mask.diagonal = TW_SHIFTED;
  call.mask.shift = -3;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(band_of(call.problem, 0).diagonal, -3);
  EXPECT_EQ(band_of(call.problem, 0).right, core::kUnlimited);
}

TEST(Masks, BlocksAreThoseOfTheHead) {
  Attention call;
  call.request.query = call.memory.tensor(TW_FLOAT32, {2, 20, 4, 8});
  call.request.output = call.memory.tensor(TW_FLOAT32, {2, 20, 4, 16});
  call.request.lse = call.memory.tensor(TW_FLOAT32, {2, 4, 20});
  call.mask.blocks = call.memory.tensor(TW_BOOL, {1, 4, 2, 1});
  call.mask.block_query = 16;
  call.mask.block_key = 32;
  auto* bytes = static_cast<std::uint8_t*>(call.mask.blocks.data);
  bytes[3 * 2 + 1] = 1;
  ASSERT_STREQ(call.check().sentence, "");
  const core::BlockMask blocks = blocks_of(call.problem, 1, 3);
  EXPECT_EQ(blocks.present, bytes + 6);
  EXPECT_FALSE(blocks.visible(15, 6));
  EXPECT_TRUE(blocks.visible(16, 6));
  EXPECT_FALSE(blocks_of(call.problem, 1, 2).visible(16, 6));
}

TEST(Masks, NoBlocksOrNoneYetHideNothing) {
  Attention call;
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(blocks_of(call.problem, 1, 3).present, nullptr);
  call.mask.blocks = call.memory.tensor(TW_BOOL, {2, 4, 1, 1});
  call.mask.block_query = call.mask.block_key = 16;
  call.forget_memory();
  ASSERT_STREQ(call.check().sentence, "");
  EXPECT_EQ(blocks_of(call.problem, 1, 3).present, nullptr);
}

}  // namespace
}  // namespace tilewise
