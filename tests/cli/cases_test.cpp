// The list of cases: it reads, it is refused when misspelt, and its pairs are counted right.
#include "cli/core/cases.h"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

#include "cli/core/call.h"
#include "cli/core/failure.h"

namespace tilewise::cli {
namespace {

std::string refusal(const std::string& json) {
  try {
    (void)parse_cases(json);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Cases, TheBuiltInListReadsAndHasEveryTier) {
  std::set<Tier> tiers;
  for (const Case& shape : all_cases()) {
    tiers.insert(shape.tier);
    EXPECT_FALSE(shape.about.empty()) << shape.name;
  }
  EXPECT_EQ(tiers.size(), tier_names().size());
}

TEST(Cases, TheLibraryAcceptsEveryOneBothWays) {
  for (const Case& shape : all_cases()) {
    for (const bool backward : {false, true}) {
      Call call;
      describe(shape, backward, call);
      Runner runner;
      EXPECT_NO_THROW(
          (void)explain(backward ? TW_BACKWARD : TW_FORWARD, call, runner.execution(), TW_JSON))
          << shape.name;
    }
  }
}

TEST(Cases, FillsInWhatIsNotGiven) {
  const auto cases = parse_cases(R"([{"name": "a", "tier": "quick", "heads": 6, "queries": 7,
                                      "dim": 8, "mask": {"right": 0, "shift": -3}}])");
  ASSERT_EQ(cases.size(), 1U);
  EXPECT_EQ(cases[0].sizes.key_heads, 6);
  EXPECT_EQ(cases[0].sizes.keys, 7);
  EXPECT_EQ(cases[0].sizes.value_dim, 8);
  EXPECT_EQ(cases[0].mask.shift, -3);
  EXPECT_TRUE(is_causal(cases[0].mask));
}

TEST(Cases, RefusesWhatItDoesNotUnderstand) {
  EXPECT_NE(refusal("{}").find("must be a JSON list"), std::string::npos);
  EXPECT_NE(refusal("[").find("must be a JSON list"), std::string::npos);
  EXPECT_NE(refusal("[3]").find("must be a JSON object"), std::string::npos);
  EXPECT_NE(refusal(R"([{"tier": "quick", "queries": 1, "dim": 1}])").find("needs a name"),
            std::string::npos);
  const auto with = [](const std::string& fields) {
    return refusal(R"([{"name": "a", "tier": "quick", "queries": 1, "dim": 1)" + fields + "}]");
  };
  EXPECT_EQ(with(""), "accepted");
  EXPECT_NE(with(R"(, "key_head": 2)").find("did you mean 'key_heads'"), std::string::npos);
  EXPECT_NE(with(R"(, "mask": {"rigth": 0})").find("did you mean 'right'"), std::string::npos);
  EXPECT_NE(with(R"(, "heads": 3, "key_heads": 2)").find("multiple"), std::string::npos);
  EXPECT_NE(with(R"(, "keys": -1)").find("not negative"), std::string::npos);
  EXPECT_NE(with(R"(, "keys": 1.5)").find("no whole number"), std::string::npos);
  EXPECT_NE(with(R"(, "dtype": 4)").find("wrong type"), std::string::npos);
  EXPECT_NE(with(R"(, "query_lengths": [1, 2], "key_lengths": [1])").find("as many"),
            std::string::npos);
  EXPECT_NE(refusal(R"([{"name": "a", "tier": "soon", "queries": 1, "dim": 1}])").find("no tier"),
            std::string::npos);
  EXPECT_NE(refusal(R"([{"name": "a", "tier": "quick", "dim": 1}])").find("needs 'queries'"),
            std::string::npos);
  EXPECT_NE(refusal(R"([{"name": "a", "tier": "quick", "queries": 1, "dim": 1},
                        {"name": "a", "tier": "quick", "queries": 1, "dim": 1}])")
                .find("two cases are named a"),
            std::string::npos);
}

TEST(Cases, FindsByNameOrSaysWhatIsNear) {
  EXPECT_EQ(find_case("causal-1024").sizes.queries, 1024);
  try {
    (void)find_case("causal-1042");
    FAIL() << "there is no such case";
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("'causal-1024'"), std::string::npos);
  }
}

// The definition of tilewise.h, for one pair of a query and a key.
bool sees(const Mask& mask, std::int64_t i, std::int64_t j, std::int64_t shift) {
  const std::int64_t distance = j - i - shift;
  if (mask.left && distance < -*mask.left) return false;
  if (mask.right && distance > *mask.right) return false;
  const auto chunk_of = [&](std::int64_t at) {
    return at < 0 ? -((-at + mask.chunk - 1) / mask.chunk) : at / mask.chunk;
  };
  return mask.chunk == 0 || chunk_of(j) == chunk_of(i + shift);
}

TEST(Cases, CountsVisiblePairsAsOneByOne) {
  for (const Case& shape : all_cases()) {
    if (shape.tier != Tier::kQuick) continue;
    double pairs = 0;
    for (std::int64_t b = 0; b < shape.sizes.batch; ++b) {
      const std::int64_t queries = shape.sizes.query_length(b), keys = shape.sizes.key_length(b);
      const std::int64_t shift = shape.mask.diagonal == TW_BOTTOM_RIGHT ? keys - queries
                                 : shape.mask.diagonal == TW_TOP_LEFT   ? 0
                                                                        : shape.mask.shift;
      for (std::int64_t i = 0; i < queries; ++i) {
        for (std::int64_t j = 0; j < keys; ++j) pairs += sees(shape.mask, i, j, shift) ? 1 : 0;
      }
    }
    EXPECT_EQ(visible_pairs(shape), pairs * static_cast<double>(shape.sizes.heads)) << shape.name;
  }
}

TEST(Cases, CountsOperationsByTheFormula) {
  Case shape;
  shape.sizes.queries = shape.sizes.keys = 10;
  shape.sizes.dim = 4;
  shape.sizes.value_dim = 8;
  EXPECT_EQ(operations(shape, false), 4 * 100 * 6);
  EXPECT_EQ(operations(shape, true), 10 * 100 * 6);
}

}  // namespace
}  // namespace tilewise::cli
