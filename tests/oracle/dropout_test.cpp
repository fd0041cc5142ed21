// Philox against its published vectors, and the layout of decisions against the contract's words.
#include "oracle/dropout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace tilewise::oracle {
namespace {

TEST(Philox, PublishedVectorsOfTenRounds) {
  const Words zero = {0x6627E8D5U, 0xE169C58DU, 0xBC57AC4CU, 0x9B00DBD8U};
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}, 10), zero);
  const Words ones = {0x408F276DU, 0x41C83B0EU, 0xA20BC7C6U, 0x6D5451FDU};
  EXPECT_EQ(philox({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}, 10), ones);
  const Words pi = {0xD16CFE09U, 0x94FDCCEBU, 0x5001E420U, 0x24126EA1U};
  EXPECT_EQ(
      philox({0x243F6A88U, 0x85A308D3U, 0x13198A2EU, 0x03707344U}, {0xA4093822U, 0x299F31D0U}, 10),
      pi);
}

TEST(Philox, PublishedVectorsOfSevenRounds) {
  const Words zero = {0x5F6FB709U, 0x0D893F64U, 0x4F121F81U, 0x4F730A48U};
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}, 7), zero);
  const Words ones = {0x5207DDC2U, 0x45165E59U, 0x4D8EE751U, 0x8C52F662U};
  EXPECT_EQ(philox({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}, 7), ones);
}

TEST(Dropout, DecisionsLieWhereTheContractPutsThem) {
  const Dropout dropout{.probability = 0.5,
                        .seed = 0x0123456789ABCDEFU,
                        .offset = 0xFEDCBA9876543210U,
                        .batch = 3,
                        .base = {}};
  const Words drawn = philox({0x76543210U, 0xFEDCBA98U, 0, 0}, {0x89ABCDEFU, 0x01234567U}, 7);
  // Element (29, 75): query block 1, offset 13 = 8 + 5; key block 2, offset 11 = 8 + 3.
  const Words words = philox({2 * 8 + 3, 1 * 8 + 5, 4, 3}, {drawn[0], drawn[1]}, 7);
  EXPECT_EQ(decision(dropout, 4, 29, 75), words[2] >> 16U);  // number 4 + 1 = 5
  EXPECT_EQ(decision(dropout, 4, 21, 75), words[0] >> 16U);  // number 0 + 1 = 1
  EXPECT_EQ(decision(dropout, 4, 21, 67), words[0] & 0xFFFFU);
  EXPECT_EQ(decision(dropout, 4, 29, 91), words[3] >> 16U);  // number 4 + 3 = 7
}

TEST(Dropout, BasesAreAddedToTheIndices) {
  Dropout shifted{.probability = 0.5, .seed = 5, .offset = 6, .batch = 1, .base = {2, 3, 40, 50}};
  const Dropout plain{.probability = 0.5, .seed = 5, .offset = 6, .batch = 3, .base = {}};
  for (std::int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(decision(shifted, 1, i, 2 * i), decision(plain, 4, i + 40, 2 * i + 50));
  }
  shifted.base[0] = 2 + (std::int64_t{1} << 32U);
  EXPECT_EQ(decision(shifted, 1, 0, 0), decision(plain, 4, 40, 50));
}

TEST(Dropout, NoTwoElementsOfABlockShareADecision) {
  const Dropout dropout{.probability = 0.5, .seed = 1, .offset = 0, .batch = 0, .base = {}};
  std::set<std::uint32_t> seen;
  for (std::int64_t i = 0; i < 16; ++i) {
    for (std::int64_t j = 0; j < 32; ++j) seen.insert(decision(dropout, 0, i, j));
  }
  // 512 draws of 65536: about two collisions by chance, hundreds if decisions were shared.
  EXPECT_GT(seen.size(), 500U);
}

TEST(Dropout, ThresholdAndKeepScaleTakeTheNearestStep) {
  Dropout dropout;
  dropout.probability = 0.1;
  EXPECT_EQ(threshold(dropout), 6554U);  // 6553.6
  EXPECT_EQ(keep_scale(dropout), 65536.0 / 58982.0);
  dropout.probability = 2.5 / 65536;
  EXPECT_EQ(threshold(dropout), 3U);  // a tie goes away from zero
  dropout.probability = 0.25;
  EXPECT_EQ(keep_scale(dropout), 4.0 / 3.0);
  dropout.probability = 0;
  EXPECT_EQ(keep_scale(dropout), 1);
  EXPECT_TRUE(kept(dropout, 0, 0, 0));
}

TEST(Dropout, KeepRateIsWithinFiveSigma) {
  for (const double probability : {0.1, 0.5, 0.9}) {
    const Dropout dropout{
        .probability = probability, .seed = 11, .offset = 12, .batch = 0, .base = {}};
    constexpr std::int64_t kSide = 400;
    double dropped = 0;
    for (std::int64_t i = 0; i < kSide; ++i) {
      for (std::int64_t j = 0; j < kSide; ++j) dropped += kept(dropout, 0, i, j) ? 0 : 1;
    }
    const double count = kSide * kSide;
    EXPECT_LT(std::fabs(dropped - count * probability),
              5 * std::sqrt(count * probability * (1 - probability)))
        << probability;
  }
}

}  // namespace
}  // namespace tilewise::oracle
