// Kernels with features compiled in: their names and places, which calls take them, and that each
// feature, alone and with each other one, computes what the oracle says.
#include "backends/cuda/featured.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "backends/cuda/kernel_choice.h"
#include "conformance/check.h"
#include "conformance/trial.h"
#include "emulated_backend.h"
#include "environment.h"
#include "oracle/random.h"
#include "tilewise/tilewise.hpp"

namespace tilewise::cuda {
namespace {

using conformance::Case;
using conformance::Request;
using oracle::Random;

const Variable kAutomatic("TILEWISE_CUDA_KERNELS", nullptr);

TEST(Featured, SetsAreWhatCallsAsk) {
  using namespace score;
  EXPECT_EQ(featured_set(0), 0U);
  EXPECT_EQ(featured_set(kSinks), 0U);
  EXPECT_EQ(featured_set(kSoftcap | kSinks), uint32{kSoftcap});
  EXPECT_EQ(featured_set(kSoftcap | kAnyScale), uint32{kSoftcap});
  EXPECT_EQ(featured_set(kAnyScale), uint32{kAnyScale});
  // Those that lie anyhow are for the general variant.
  EXPECT_EQ(featured_set(kBias | kSoftcap), 0U);
  EXPECT_EQ(featured_set(kVisible), 0U);
  EXPECT_EQ(featured_set(kBlocks), 0U);
  EXPECT_EQ(featured_set(kBias | kBiasPieces | kSoftcap), kBias | kBiasPieces | kSoftcap);
}

TEST(Featured, NamesAndPlacesAreTheirOwn) {
  std::set<std::string> names;
  const std::vector<Featured> all = every_featured();
  EXPECT_GT(all.size(), 500U);
  for (const Featured& each : all) {
    EXPECT_TRUE(names.insert(kernel_name(each)).second) << kernel_name(each);
    EXPECT_LT(kernel_name(each).size(), 80U);  // a name in a pack
    EXPECT_LE(shared_bytes_of(each), kMostFeaturedBytes);
  }
  const Featured one = all[17], other = all[18];
  EXPECT_EQ(place_of(one), place_of(one));
  EXPECT_NE(place_of(one), place_of(other));
  EXPECT_EQ(kernel_name(featured_at(place_of(one))), kernel_name(one));
  EXPECT_EQ(featured_variant(place_of(one)).name, kernel_name(one));
  Featured found;
  ASSERT_TRUE(find_featured(kernel_name(other), found));
  EXPECT_EQ(place_of(found), place_of(other));
  EXPECT_FALSE(find_featured("tilewise_sm80_forward_bfloat16_128", found));
}

TEST(Featured, TextsSayTheSet) {
  const Featured featured{FeaturedFamily::kForward, true, sm80::kVariantsOfForward,
                          score::kSoftcap | score::kAlibi};
  const FeaturedText text(featured);
  EXPECT_STREQ(text.variant.name, "tilewise_sm80_forward_bfloat16_32_softcap_alibi");
  EXPECT_STREQ(text.variant.body,
               "using namespace tilewise::cuda; sm80::forward<sm80::Traits<DType::kBFloat16, 20, "
               "32774u>>(p);");
  EXPECT_EQ(text.variant.threads, 128);
  EXPECT_EQ(feature_words(featured.features), "softcap, ALiBi");
}

Case aligned_case(std::uint64_t seed, std::int64_t dim, std::int64_t queries, std::int64_t keys) {
  const tw_dtype dtype = seed % 2 == 0 ? TW_FLOAT16 : TW_BFLOAT16;
  return conformance::plain_case(seed,
                                 {.batch = 1,
                                  .queries = queries,
                                  .keys = keys,
                                  .heads = 2,
                                  .key_heads = 1,
                                  .dim = dim,
                                  .value_dim = dim},
                                 {.input = dtype, .output = dtype, .lse = TW_FLOAT32});
}

// Feature `number` of those that may be compiled in.
void ask(Case& drawn, int number, Random& random) {
  switch (number) {
    case 0:
      drawn.scores.has_scale = true;
      drawn.scores.scale = -0.2;
      break;
    case 1:
      drawn.scores.softcap = random.chance(0.5) ? 0.7 : 20;
      break;
    case 2:
      drawn.scores.has_slopes = true;
      break;
    case 3:
      drawn.scores.has_bias = true;
      drawn.scores.bias_dtype = drawn.dtypes.input;
      drawn.scores.bias_broadcast = {true, random.chance(0.3), random.chance(0.3), false};
      break;
    case 4:
      drawn.mask.has_visible = true;
      drawn.mask.visible_broadcast = {true, random.chance(0.5), random.chance(0.3), false};
      break;
    case 5:
      drawn.mask.has_blocks = true;
      drawn.mask.block_query = 32 * random.integer(1, 5);
      drawn.mask.block_key = 64 * random.integer(1, 2);
      break;
    default:
      drawn.dropout.probability = 0.3;
  }
}
constexpr int kFeatureCount = 7;

std::string kernel_of(const Case& drawn) {
  const conformance::Setup setup = make_setup(drawn);
  Request request(drawn, setup);
  request.request.output = setup.output.view();
  char text[4096], message[512];
  std::size_t needed = 0;
  const tw_status status = tw_explain(TW_FORWARD, &request.request, &request.execution, TW_JSON,
                                      text, sizeof text, &needed, message, sizeof message);
  if (status != TW_OK) return message;
  const std::string all = text, mark = "\"note\": \"";
  const std::size_t begin = all.find(mark) + mark.size();
  return all.substr(begin, all.find('"', begin) - begin);
}

void check(const Case& drawn, const char* kind) {
  EXPECT_EQ(kernel_of(drawn).substr(0, std::string(kind).size()), kind) << drawn.describe();
  const conformance::Report report = check_forward(drawn);
  EXPECT_TRUE(report.ok()) << drawn.describe() << report.sentences();
  EXPECT_EQ(report.refusal(), "") << drawn.describe();
}

// Alone and in pairs, over several tiles of both sides, the last of which end inside.
TEST(Featured, EachFeatureAndEachPair) {
  constexpr std::int64_t kDims[] = {32, 64, 96, 128, 192, 256};
  for (int one = 0; one < kFeatureCount; ++one) {
    for (int other = one; other < kFeatureCount; ++other) {
      const auto seed = static_cast<std::uint64_t>(one * kFeatureCount + other + 1);
      Random random(seed);
      Case drawn = aligned_case(seed, kDims[seed % 6], random.integer(70, 200),
                                16 * random.integer(5, 14));
      ask(drawn, one, random);
      ask(drawn, other, random);
      if (random.chance(0.5)) drawn.mask.band.right = random.integer(-3, 5);
      if (random.chance(0.3)) drawn.mask.band.left = random.integer(0, 100);
      drawn.scores.has_sinks = random.chance(0.3);
      check(drawn, "featured");
    }
  }
}

// Rows of the table that only little memory or much of it needs.
TEST(Featured, LittleMemoryTakesOneStage) {
  Case drawn = aligned_case(2, 128, 140, 160);
  drawn.mask.has_visible = true;
  EXPECT_EQ(kernel_of(drawn).substr(0, 13), "featured 128:");
  set_emulated_shared_kib(99);
  check(drawn, "featured 128, one stage: boolean mask");
  set_emulated_shared_kib(227);
  drawn.mask.has_visible = false;
  drawn.scores.has_bias = true;
  drawn.scores.bias_dtype = drawn.dtypes.input;
  check(drawn, "featured 128, one stage: bias");
}

// Many tiles of which blocks have few: windows of 32 tiles, all of them empty, and of rows that see
// nothing at all.
TEST(Featured, FewBlocksOfMany) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Random random(seed);
    Case drawn = aligned_case(seed, 16, random.integer(70, 140), 64 * random.integer(70, 80) + 16);
    drawn.mask.has_blocks = true;
    drawn.mask.block_query = 32 * random.integer(1, 4);
    drawn.mask.block_key = seed % 2 == 0 ? 64 : 1024;
    if (random.chance(0.5)) drawn.mask.band.right = 0;
    check(drawn, "featured 32: block mask");
  }
}

TEST(Featured, TheGeneralVariantServesWithoutACompiler) {
  Case drawn = aligned_case(3, 64, 100, 96);
  drawn.scores.softcap = 5;
  set_emulated_compiler(false);
  check(drawn, "general 64");
  set_emulated_compiler(true);
  check(drawn, "featured 64: softcap");
  const Variable packed("TILEWISE_CUDA_KERNELS", "packed");
  check(drawn, "general 64");
}

// Calls that such kernels do not take.
TEST(Featured, WhatLiesAnyhowIsGeneral) {
  Case drawn = aligned_case(4, 64, 100, 100);
  drawn.mask.has_visible = true;
  EXPECT_EQ(kernel_of(drawn), "general 64");
  drawn = aligned_case(4, 64, 100, 96);
  drawn.mask.has_blocks = true;
  drawn.mask.block_query = 32;
  drawn.mask.block_key = 32;
  EXPECT_EQ(kernel_of(drawn), "general 64");
  drawn = aligned_case(4, 60, 100, 96);
  drawn.scores.softcap = 5;
  EXPECT_EQ(kernel_of(drawn), "general 64");
}

}  // namespace
}  // namespace tilewise::cuda
