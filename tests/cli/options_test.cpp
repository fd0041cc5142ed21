// Options that are small languages of their own, and the names offered for misspelt ones.
#include "cli/options.h"

#include <gtest/gtest.h>

#include "cli/core/failure.h"
#include "cli/core/nearest.h"
#include "cli/core/terminal.h"

namespace tilewise::cli {
namespace {

TEST(Options, ReadsWindows) {
  EXPECT_EQ(parse_window("511,0").left, 511);
  EXPECT_EQ(parse_window("511,0").right, 0);
  EXPECT_EQ(parse_window("inf,-1").left, std::nullopt);
  EXPECT_EQ(parse_window("inf,-1").right, -1);
  for (const char* text : {"", "5", "5,", ",5", "5;5", "5,5,5", "5, 5", "a,b", "1e3,0"}) {
    EXPECT_THROW((void)parse_window(text), Failure) << text;
  }
}

TEST(Options, UnderCausalAndAWindowBothHold) {
  const auto right_of = [](const char* window) {
    Case shape;
    AttentionOptions options;
    options.causal = true;
    options.window = window;
    options.apply(shape);
    EXPECT_EQ(shape.mask.left, 7);
    return shape.mask.right;
  };
  EXPECT_EQ(right_of("7,inf"), 0);
  EXPECT_EQ(right_of("7,3"), 0);
  EXPECT_EQ(right_of("7,0"), 0);
  EXPECT_EQ(right_of("7,-2"), -2);
}

TEST(Options, RefusesAWindowThatHidesEveryKey) {
  const auto apply = [](const char* window, bool causal) {
    Case shape;
    AttentionOptions options;
    options.causal = causal;
    options.window = window;
    options.apply(shape);
  };
  EXPECT_THROW(apply("-1,-1", false), Failure);
  EXPECT_THROW(apply("2,-3", false), Failure);
  EXPECT_THROW(apply("-1,4", true), Failure);
  EXPECT_THROW(apply("-9223372036854775808,-9223372036854775808", false), Failure);
  EXPECT_NO_THROW(apply("-1,1", false));
  EXPECT_NO_THROW(apply("9223372036854775807,9223372036854775807", false));
  EXPECT_NO_THROW(apply("inf,-1", true));
}

TEST(Options, ReadsDiagonals) {
  Case shape;
  AttentionOptions options;
  options.diagonal = "-17";
  options.apply(shape);
  EXPECT_EQ(shape.mask.diagonal, TW_SHIFTED);
  EXPECT_EQ(shape.mask.shift, -17);
  options.diagonal = "middle";
  EXPECT_THROW(options.apply(shape), Failure);
}

TEST(Options, AShapeStartsFromACaseAndChangesIt) {
  ShapeOptions options;
  options.name = "causal-2048-gqa";
  options.sizes.length = 100;
  const Case shape = options.shape();
  EXPECT_EQ(shape.sizes.queries, 100);
  EXPECT_EQ(shape.sizes.keys, 100);
  EXPECT_EQ(shape.sizes.key_heads, 2);
  EXPECT_EQ(shape.mask.right, 0);
  options.name = "packed";
  EXPECT_THROW((void)options.shape(), Failure);
}

TEST(Nearest, CountsEdits) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("same", "same"), 0U);
  EXPECT_EQ(edit_distance("right", "rigth"), 1U);
}

TEST(Nearest, OffersWhatIsLikeTheWord) {
  const std::vector<std::string> names{"causal", "chunk", "case", "window"};
  EXPECT_EQ(nearest("casual", names), std::vector<std::string>{"causal"});
  EXPECT_EQ(nearest("win", names), std::vector<std::string>{"window"});
  EXPECT_TRUE(nearest("zebra", names).empty());
}

TEST(Terminal, ReadsLikeAPersonWouldSay) {
  EXPECT_EQ(bytes(1023), "1023 B");
  EXPECT_EQ(bytes(1536), "1.50 KiB");
  EXPECT_EQ(seconds(0.0123), "12.3 ms");
  EXPECT_EQ(seconds(90), "90.0 s");
}

TEST(Terminal, TablesAlign) {
  Table table("lr");
  table.add({"name", "value"});
  table.add({"é", "1"});
  EXPECT_EQ(table.text(1), " name  value\n é         1\n");
}

TEST(Terminal, ParagraphsBreakBetweenWords) {
  EXPECT_EQ(wrapped("aa bb cc", 6, {1, 2}), " aa bb\n  cc\n");
  EXPECT_EQ(wrapped("aa  bb", 80, {}), "aa  bb\n");
  EXPECT_EQ(wrapped("é é", 3, {}), "é é\n");
  EXPECT_EQ(wrapped("unbreakable x", 4, {0, 1}), "unbreakable\n x\n");
  EXPECT_EQ(wrapped("\x1b[32maa\x1b[0m b", 4, {}), "\x1b[32maa\x1b[0m b\n");
}

TEST(Terminal, ATableThatIsTooWideBecomesParagraphs) {
  Table table("lrr");
  table.add({"name", "value", "other"});
  table.add({"a", "1", "2"});
  EXPECT_EQ(table.text_within(19, 1), table.text(1));
  EXPECT_EQ(table.text_within(18, 1), " a: value 1, other\n   2\n");
}

}  // namespace
}  // namespace tilewise::cli
