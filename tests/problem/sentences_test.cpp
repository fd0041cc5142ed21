// Every refusal that src/problem can give is given by a test: the formats in its sources are held
// against the sentences of all tables.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>

#include "calls.h"

namespace tilewise {
namespace {

Refusals all_refusals() {
  Refusals all;
  for (const auto table : {struct_refusals, tensor_refusals, sequence_refusals, cache_refusals,
                           shape_refusals, mask_refusals, score_refusals, gradient_refusals,
                           memory_refusals, rotary_refusals, append_refusals, merge_refusals}) {
    for (const Refusal& refusal : table()) all.push_back(refusal);
  }
  return all;
}

std::string text_of(const std::filesystem::path& file) {
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

// The string literals, joined, that begin at or behind `at`; empty where something else stands.
std::string literal(const std::string& text, std::size_t at) {
  std::string joined;
  for (;; ++at) {
    while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at]))) ++at;
    if (at >= text.size() || text[at] != '"') return joined;
    for (++at; text[at] != '"'; ++at) joined += text[at] == '\\' ? text[++at] : text[at];
  }
}

struct Format {
  std::string text, where;
};

std::vector<Format> formats() {
  std::vector<Format> found;
  const auto folder = std::filesystem::path(TILEWISE_SOURCE_DIR) / "src" / "problem";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".cpp") continue;
    const std::string text = text_of(entry.path());
    for (const std::string name : {"return invalid(", "return unsupported("}) {
      for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1))
        found.push_back({literal(text, at + name.size()), entry.path().filename()});
    }
  }
  return found;
}

// Whether printf could have made `sentence` from `format`; %s stands for any text, the others for
// something without blanks.
bool made_from(const char* format, const char* sentence) {
  if (*format == 0) return *sentence == 0;
  if (*format != '%') {
    return *format == *sentence && made_from(format + 1, sentence + 1);
  }
  const char* conversion = format + 1 + std::strspn(format + 1, "0123456789.lz");
  const bool word = *conversion != 's';
  for (const char* end = sentence;; ++end) {
    if (made_from(conversion + 1, end)) return true;
    if (*end == 0 || (word && (*end == ' ' || *end == ','))) return false;
  }
}

TEST(Sentences, EndWithAPeriodAndFit) {
  for (const Refusal& refusal : all_refusals()) {
    const std::string sentence = refusal.call().sentence;
    ASSERT_FALSE(sentence.empty()) << refusal.sentence;
    EXPECT_EQ(sentence.back(), '.') << sentence;
    EXPECT_LT(sentence.size() + 1, std::size_t{Status::kSentenceBytes}) << sentence;
  }
}

TEST(Sentences, EachOneOfTheSourcesIsTested) {
  std::set<std::string> sentences;
  for (const Refusal& refusal : all_refusals()) sentences.insert(refusal.call().sentence);
  const std::vector<Format> all = formats();
  ASSERT_GT(all.size(), 60u) << "the sources were not found under " << TILEWISE_SOURCE_DIR;
  for (const Format& format : all) {
    const auto makes = [&](const std::string& sentence) {
      return made_from(format.text.c_str(), sentence.c_str());
    };
    EXPECT_FALSE(format.text.empty()) << format.where << " refuses by something but a literal";
    EXPECT_TRUE(std::any_of(sentences.begin(), sentences.end(), makes))
        << format.where << " is untested: " << format.text;
  }
  std::cout << all_refusals().size() << " refusals, " << sentences.size() << " sentences, from all "
            << all.size() << " formats of src/problem\n";
}

// So that a format cannot count as tested by another one's sentence.
TEST(Sentences, EachOneComesFromOneFormat) {
  const std::vector<Format> all = formats();
  for (const Refusal& refusal : all_refusals()) {
    const std::string sentence = refusal.call().sentence;
    int makers = 0;
    for (const Format& format : all) makers += made_from(format.text.c_str(), sentence.c_str());
    EXPECT_EQ(makers, 1) << sentence;
  }
}

TEST(Sentences, FormatsAreMatchedWhole) {
  EXPECT_TRUE(made_from("%s is %lld: stop.", "mask.chunk is -1: stop."));
  EXPECT_FALSE(made_from("%s is %lld: stop.", "mask.chunk is -1: stop. Not"));
  EXPECT_FALSE(made_from("%s is %lld: stop.", "mask.chunk is too low: stop."));
}

}  // namespace
}  // namespace tilewise
