#include "backends/cuda/compiler/squeeze.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace tilewise::cuda {
namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

void expect_same(const std::vector<std::byte>& plain) {
  std::vector<std::byte> back;
  ASSERT_TRUE(expand(squeeze(plain), plain.size(), {}, back)) << plain.size();
  EXPECT_EQ(back, plain);
}

TEST(Squeeze, GivesBackWhatItGot) {
  for (const char* text : {"", "a", "abc", "abcd", "aaaaa", "abcdabcd", "abcdabcdabcdabcdx"})
    expect_same(bytes_of(text));
  expect_same(std::vector<std::byte>(100000));
  std::mt19937 random(7);
  // From noise, in which nothing repeats, to almost nothing but repetition.
  for (const unsigned letters : {256U, 16U, 2U, 1U})
    for (std::size_t size : {1U, 127U, 128U, 129U, 5000U, 40000U}) {
      std::vector<std::byte> plain(size);
      for (std::byte& byte : plain) byte = static_cast<std::byte>(random() % letters);
      expect_same(plain);
    }
}

TEST(Squeeze, MakesRepetitionSmall) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "instruction " + std::to_string(i % 50) + "; ";
  EXPECT_LT(squeeze(bytes_of(text)).size(), text.size() / 10);
}

TEST(Squeeze, SaysBrieflyWhatDiffersLittleFromWhatIsKnown) {
  std::mt19937 random(5);
  std::vector<std::byte> known(20000), out;
  for (std::byte& byte : known) byte = static_cast<std::byte>(random() % 256);
  auto plain = known;
  for (std::size_t at = 100; at < plain.size(); at += 1000) plain[at] ^= std::byte{1};
  const auto squeezed = squeeze(plain, known);
  EXPECT_LT(squeezed.size(), 200U);
  ASSERT_TRUE(expand(squeezed, plain.size(), known, out));
  EXPECT_EQ(out, plain);
  EXPECT_FALSE(expand(squeezed, plain.size(), {}, out));
  EXPECT_FALSE(expand(squeezed, plain.size() - 1, known, out));
}

// expand() reads and writes nothing out of bounds, whatever its input: the address sanitizer would
// notice.
TEST(Squeeze, ExpandsNoRubbish) {
  const auto plain = bytes_of("abcdefgh abcdefgh abcdefgh and more of it, abcdefgh");
  const auto whole = squeeze(plain);
  std::vector<std::byte> out;
  EXPECT_FALSE(expand(whole, plain.size() - 1, {}, out));
  EXPECT_FALSE(expand(whole, plain.size() + 1, {}, out));
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes)
    EXPECT_FALSE(expand(std::span(whole).first(bytes), plain.size(), {}, out)) << bytes;
  std::mt19937 random(11);
  for (int round = 0; round < 20000; ++round) {
    auto changed = whole;
    for (int i = 0; i < 3; ++i)
      changed[random() % changed.size()] = static_cast<std::byte>(random() % 256);
    const bool expanded = expand(changed, plain.size(), {}, out);
    EXPECT_TRUE(out.size() == plain.size() || (!expanded && out.size() < plain.size()));
  }
}

// Steps that write one byte, and then repeat four from `back` bytes before.
TEST(Squeeze, RepeatsNothingFromBeforeTheBeginning) {
  std::vector<std::byte> out;
  const auto steps = [](unsigned char back) {
    return bytes_of({1, 'a', 4, static_cast<char>(back), 0});
  };
  EXPECT_TRUE(expand(steps(1), 5, {}, out));
  EXPECT_FALSE(expand(steps(0), 5, {}, out));
  EXPECT_FALSE(expand(steps(2), 5, {}, out));
  EXPECT_FALSE(expand(steps(127), 5, {}, out));
}

}  // namespace
}  // namespace tilewise::cuda
