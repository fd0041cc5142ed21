// The JSON that programs read from us, and what we read from others.
#include "cli/core/json.h"

#include <gtest/gtest.h>

#include <limits>

namespace tilewise::cli {
namespace {

TEST(Json, WritesWhatItWasGivenInThatOrder) {
  const Json json{{"b", 1},
                  {"a", {{"text", "x\"y"}, {"none", nullptr}, {"yes", true}}},
                  {"list", std::vector<std::string>{"p", "q"}},
                  {"large", std::numeric_limits<std::uint64_t>::max()},
                  {"half", 0.5},
                  {"infinite", std::numeric_limits<double>::infinity()}};
  EXPECT_EQ(one_line_json(json),
            R"({"b":1,"a":{"text":"x\"y","none":null,"yes":true},"list":["p","q"],)"
            R"("large":18446744073709551615,"half":0.5,"infinite":null})");
  EXPECT_EQ(indented_json({{"a", Json::array()}}), "{\n  \"a\": []\n}");
  EXPECT_EQ(one_line_json(Json("\xff")), "\"\xEF\xBF\xBD\"");  // the replacement character
}

TEST(Json, ReadsBackWhatItWrites) {
  const std::string text =
      R"({"z":[1,-2,3.5,"t",null,false,{}],"a":{"b":[]},"large":18446744073709551615})";
  const auto json = parse_json(text);
  ASSERT_TRUE(json);
  EXPECT_EQ(one_line_json(*json), text);
  EXPECT_FALSE(parse_json("{\"a\":"));
  EXPECT_FALSE(parse_json(""));
}

TEST(Json, GivesNoValueOfAnotherType) {
  const Json json = parse_json(R"({"n":3,"minus":-3,"half":0.5,"text":"x","list":[1,2]})").value();
  EXPECT_EQ(json.at("n").get<std::int64_t>(), 3);
  EXPECT_EQ(json.at("n").get<std::uint64_t>(), 3U);
  EXPECT_EQ(json.at("n").get<double>(), 3);
  EXPECT_EQ(json.at("list").get<std::vector<double>>(), (std::vector<double>{1, 2}));
  EXPECT_THROW((void)json.at("minus").get<std::uint64_t>(), JsonError);
  EXPECT_THROW((void)json.at("half").get<std::int64_t>(), JsonError);
  EXPECT_THROW((void)json.at("text").get<double>(), JsonError);
  EXPECT_THROW((void)json.at("n").get<std::string>(), JsonError);
  EXPECT_THROW((void)json.at("n").get<std::vector<double>>(), JsonError);
  EXPECT_THROW((void)json.at("absent"), JsonError);
  EXPECT_THROW((void)json.at("n").at("n"), JsonError);
  EXPECT_EQ(json.find("absent"), nullptr);
}

TEST(Json, MembersAndItemsAreAddedOneByOne) {
  Json json = Json::object();
  json["a"] = 1;
  json["b"]["c"] = 2;
  json["a"] = 3;
  json["list"].push_back({{"d", 4}});
  EXPECT_EQ(one_line_json(json), R"({"a":3,"b":{"c":2},"list":[{"d":4}]})");
}

}  // namespace
}  // namespace tilewise::cli
