// Proves Philox by published vectors and Dropout's layout by its definition: every element has its
// own 16 bits, and a call's eight decisions are the eight elements that the contract names.
#include "core/philox.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <iostream>
#include <set>
#include <tuple>

namespace tilewise::core {
namespace {

using Words = std::array<uint32, 4>;

template <int rounds>
Words drawn(Words counter, std::array<uint32, 2> key) {
  const Counter result =
      philox<rounds>({{counter[0], counter[1], counter[2], counter[3]}}, {{key[0], key[1]}});
  return {result.word[0], result.word[1], result.word[2], result.word[3]};
}

// The known answers of the Random123 distribution: all zeros, all ones, the digits of pi.
constexpr uint32 kOnes = 0xffffffff;
constexpr Words kPi = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};

TEST(Philox, HasThePublishedValuesOfTenRounds) {
  EXPECT_EQ(drawn<10>({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(drawn<10>({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(drawn<10>(kPi, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, HasThePublishedValuesOfSevenRounds) {
  EXPECT_EQ(drawn<7>({0, 0, 0, 0}, {0, 0}),
            (Words{0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48}));
  EXPECT_EQ(drawn<7>({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words{0x5207ddc2, 0x45165e59, 0x4d8ee751, 0x8c52f662}));
  EXPECT_EQ(drawn<7>(kPi, {0xa4093822, 0x299f31d0}),
            (Words{0x4dfccaba, 0x190a87f0, 0xc47362ba, 0xb6b5242a}));
}

TEST(Philox, WithoutRoundsReturnsTheCounter) {
  EXPECT_EQ(drawn<0>({1, 2, 3, 4}, {5, 6}), (Words{1, 2, 3, 4}));
}

struct Element {
  int64 batch, head, row, column;
};

// Where an element's 16 bits lie, after the contract.
struct Place {
  Words counter;
  int64 decision;

  bool operator==(const Place&) const = default;
  bool operator<(const Place& other) const {
    return std::tie(counter, decision) < std::tie(other.counter, other.decision);
  }
};

Place place_of(Element element) {
  const auto [batch, head, row, column] = element;
  return {{static_cast<uint32>(column / 32 * 8 + column % 8),
           static_cast<uint32>(row / 16 * 8 + row % 8), static_cast<uint32>(head),
           static_cast<uint32>(batch)},
          4 * (row % 16 / 8) + column % 32 / 8};
}

uint32 bits_of(Element element, uint64 seed, uint64 offset) {
  const auto low = [](uint64 x) { return static_cast<uint32>(x & 0xffffffff); };
  const Words key = drawn<7>({low(offset), low(offset >> 32), 0, 0}, {low(seed), low(seed >> 32)});
  const Place place = place_of(element);
  const Words words = drawn<7>(place.counter, {key[0], key[1]});
  const uint32 word = words[static_cast<size_t>(place.decision / 2)];
  return place.decision % 2 == 0 ? word % 65536 : word / 65536;
}

// A threshold on each side of an element's bits says that `keeps` looked at exactly these bits.
void check_element(Element element, uint64 seed, uint64 offset) {
  const auto [batch, head, row, column] = element;
  const auto bits = static_cast<int32>(bits_of(element, seed, offset));
  ASSERT_TRUE(Dropout(seed, offset, bits).keeps(batch, head, row, column));
  ASSERT_FALSE(Dropout(seed, offset, bits + 1).keeps(batch, head, row, column));
}

TEST(Dropout, DecidesByTheBitsThatTheContractNames) {
  for (int64 row = 0; row < 40; ++row) {
    for (int64 column = 0; column < 70; ++column) check_element({1, 2, row, column}, 3, 4);
  }
  const int64 far = (int64{1} << 31) - 1;
  for (uint64 seed : {uint64{0}, ~uint64{0}, uint64{1} << 32, uint64{0x123456789abcdef}}) {
    check_element({0, 0, 0, 0}, seed, 0);
    check_element({far, far, far, far}, seed, ~seed);
    check_element({65536, 3, 1'000'000'007, 2'000'000'011}, seed, seed / 3);
  }
}

TEST(Dropout, GivesEachElementADecisionOfItsOwn) {
  constexpr int64 kRows = 128, kColumns = 256;
  std::set<Place> places;
  for (int64 row = 0; row < kRows; ++row) {
    for (int64 column = 0; column < kColumns; ++column)
      places.insert(place_of({0, 0, row, column}));
  }
  EXPECT_EQ(places.size(), static_cast<size_t>(kRows * kColumns));
  const Place last = *places.rbegin();
  EXPECT_EQ(last, (Place{{kColumns / 4 - 1, kRows / 2 - 1, 0, 0}, 7}));
}

// One call of Philox decides for rows r, r + 8 and columns c, c + 8, c + 16, c + 24. One lane of a
// tensor core's product holds all eight, in two neighbouring 16 by 16 tiles.
TEST(Dropout, SharesACallAmongEightElementsOfALane) {
  std::set<Place> decisions;
  const Place first = place_of({0, 0, 16 + 3, 32 + 5});
  for (int64 down = 0; down < 2; ++down) {
    for (int64 across = 0; across < 4; ++across) {
      const Place place = place_of({0, 0, 16 + 3 + 8 * down, 32 + 5 + 8 * across});
      EXPECT_EQ(place.counter, first.counter);
      EXPECT_EQ(place.decision, 4 * down + across);
      decisions.insert(place);
    }
  }
  EXPECT_EQ(decisions.size(), 8U);
}

TEST(Dropout, KeepsAsManyAsAsked) {
  constexpr int64 kSide = 512;
  for (double probability : {1.0 / 65536, 0.01, 0.1, 0.5, 0.9, 0.999}) {
    const auto threshold = static_cast<int32>(std::lround(65536 * probability));
    const Dropout dropout(42, 7, threshold);
    int64 kept = 0;
    for (int64 n = 0; n < 4 * kSide * kSide; ++n)
      kept += dropout.keeps(n % 2, n / 2 % 2, n / 4 % kSide, n / 4 / kSide) ? 1 : 0;
    constexpr double kElements = 4.0 * kSide * kSide;
    const double drops = threshold / 65536.0;
    const double sigma = std::sqrt(kElements * drops * (1 - drops));
    const double away = (static_cast<double>(kept) - kElements * (1 - drops)) / sigma;
    std::cout << "dropout: p = " << probability << " is " << away << " sigma off\n";
    EXPECT_LE(std::abs(away), 5);
    EXPECT_DOUBLE_EQ(dropout.scale(), 1 / (1 - drops));
    EXPECT_TRUE(dropout.active());
  }
}

// Rows, columns, heads, batches, seeds and offsets: half of all decisions differ from one to the
// next.
TEST(Dropout, DependsOnEverythingItIsGiven) {
  constexpr int64 kElements = 40'000;
  const Dropout dropout(1, 1, 32768);
  std::array<int64, 8> differing{};
  for (int64 n = 0; n < kElements; ++n) {
    const int64 row = n / 200, column = n % 200;
    const bool kept = dropout.keeps(0, 0, row, column);
    const bool others[] = {dropout.keeps(1, 0, row, column),
                           dropout.keeps(0, 1, row, column),
                           dropout.keeps(0, 0, row + 1, column),
                           dropout.keeps(0, 0, row, column + 1),
                           Dropout(2, 1, 32768).keeps(0, 0, row, column),
                           Dropout(1, 2, 32768).keeps(0, 0, row, column),
                           Dropout(1 + (uint64{1} << 32), 1, 32768).keeps(0, 0, row, column),
                           Dropout(1, 1 + (uint64{1} << 32), 32768).keeps(0, 0, row, column)};
    for (size_t other = 0; other < 8; ++other) differing[other] += others[other] != kept ? 1 : 0;
  }
  for (int64 count : differing)
    EXPECT_LE(std::abs(static_cast<double>(count) - kElements / 2.0),
              5 * std::sqrt(kElements / 4.0));
}

TEST(Dropout, OfNothingKeepsEverything) {
  const Dropout absent, zero(5, 6, 0);
  EXPECT_FALSE(absent.active());
  EXPECT_FALSE(zero.active());
  EXPECT_EQ(absent.scale(), 1);
  EXPECT_EQ(zero.scale(), 1);
  for (int64 n = 0; n < 100'000; ++n) {
    ASSERT_TRUE(absent.keeps(0, 0, n / 300, n % 300));
    ASSERT_TRUE(zero.keeps(0, 0, n / 300, n % 300));
  }
}

// A higher threshold drops what a lower one dropped, so masks of different p are nested.
TEST(Dropout, DropsMoreWhenAskedForMore) {
  for (int64 n = 0; n < 20'000; ++n) {
    bool kept = true;
    for (int32 threshold = 0; threshold <= Dropout::kSteps; threshold += 8192) {
      const bool now = Dropout(9, 9, threshold).keeps(0, 0, n / 100, n % 100);
      ASSERT_TRUE(kept || !now);
      kept = now;
    }
    ASSERT_FALSE(kept);
  }
}

}  // namespace
}  // namespace tilewise::core
