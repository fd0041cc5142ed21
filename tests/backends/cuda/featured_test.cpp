// Kernels with features compiled in: their names and places, which calls take them, and that each
// feature, alone and with each other one, computes what the oracle says.
#include "backends/cuda/featured.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "backends/cuda/kernel_choice.h"
#include "conformance/check.h"
#include "conformance/featured.h"
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

TEST(FeaturedKernels, SetsAreWhatCallsAsk) {
  using namespace score;
  EXPECT_EQ(featured_set(0), 0U);
  EXPECT_EQ(featured_set(kSinks), 0U);
  EXPECT_EQ(featured_set(kSoftcap | kSinks), uint32{kSoftcap});
  EXPECT_EQ(featured_set(kSoftcap | kAnyScale), uint32{kSoftcap});
  EXPECT_EQ(featured_set(kAnyScale), uint32{kAnyScale});
  // A bias or mask whose rows are not whole pieces of 16 bytes is for the general variant.
  EXPECT_EQ(featured_set(kBias | kSoftcap), 0U);
  EXPECT_EQ(featured_set(kVisible), 0U);
  EXPECT_EQ(featured_set(kBlocks), 0U);
  EXPECT_EQ(featured_set(kBias | kBiasPieces | kSoftcap), kBias | kBiasPieces | kSoftcap);
}

TEST(FeaturedKernels, NamesAndPlacesAreTheirOwn) {
  std::set<std::string> names;
  const std::vector<Featured> all = every_featured();
  EXPECT_GT(all.size(), 500U);
  for (const Featured& each : all) {
    EXPECT_TRUE(names.insert(kernel_name(each)).second) << kernel_name(each);
    EXPECT_LT(kernel_name(each).size(), 80U);  // a name in a pack
    EXPECT_LE(shared_bytes_of(each), most_bytes_of(each.family));
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

TEST(FeaturedKernels, TextsSayTheSet) {
  const Featured featured{FeaturedFamily::kForward, true, sm80::kVariantsOfForward,
                          score::kSoftcap | score::kAlibi};
  const FeaturedText text(featured);
  EXPECT_STREQ(text.variant.name, "tilewise_sm80_forward_bfloat16_32_softcap_alibi");
  EXPECT_STREQ(text.variant.body,
               "using namespace tilewise::cuda; sm80::forward<sm80::Traits<DType::kBFloat16, 21, "
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

// conformance/featured_test.cpp, which this program also runs, compares their results.
TEST(FeaturedKernels, TakesEachFeatureAndEachPair) {
  for (int one = 0; one < conformance::kFeatureCount; ++one)
    for (int other = one; other < conformance::kFeatureCount; ++other) {
      const Case drawn = conformance::featured_case(one, other);
      EXPECT_EQ(kernel_of(drawn).substr(0, 8), "featured") << drawn.describe();
    }
}

// At head dim 128 a kernel with a mask has one stage if shared memory is small, and one with a bias
// in any case.
TEST(FeaturedKernels, LittleMemoryTakesOneStage) {
  Case drawn = aligned_case(2, 128, 140, 160);
  drawn.mask.has_visible = true;
  EXPECT_EQ(kernel_of(drawn).substr(0, 13), "featured 128:");
  {
    const SharedKib little(99);
    check(drawn, "featured 128, one stage: boolean mask");
  }
  drawn.mask.has_visible = false;
  drawn.scores.has_bias = true;
  drawn.scores.bias_dtype = drawn.dtypes.input;
  check(drawn, "featured 128, one stage: bias");
}

// Masks that are the same for all queries.
TEST(FeaturedKernels, MasksOfKeysAlone) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Case drawn = aligned_case(seed, 16, 150, 16 * static_cast<std::int64_t>(8 + seed));
    drawn.mask.has_visible = true;
    drawn.mask.visible_broadcast = {true, true, true, false};
    check(drawn, "featured 32: boolean mask");
  }
}

// A block mask over 70 to 80 tiles of keys, with blocks of `block_key` keys, of which `share` are
// visible. The kernel tests 32 tiles at once, so this takes several steps.
void check_blocks(std::uint64_t seed, std::int64_t block_key, double share, bool causal) {
  Random random(seed);
  Case drawn = aligned_case(seed, 16, random.integer(130, 150), 64 * random.integer(70, 80) + 16);
  drawn.mask.has_blocks = true;
  drawn.mask.block_query = 32 * random.integer(1, 4);
  drawn.mask.block_key = block_key;
  drawn.mask.share_of_blocks = share;
  if (causal) drawn.mask.band.right = 0;
  check(drawn, "featured 32: block mask");
}

// In most steps all 32 tiles are hidden.
TEST(FeaturedKernels, FewBlocksOfMany) {
  check_blocks(1, 64, 0.01, false);
  check_blocks(3, 64, 0.7, false);
}

TEST(FeaturedKernels, BlocksOfManyTiles) {
  check_blocks(2, 1024, 0.7, true);
}

TEST(FeaturedKernels, TheGeneralVariantServesWithoutACompiler) {
  Case drawn = aligned_case(3, 64, 100, 96);
  drawn.scores.softcap = 5;
  {
    const WithoutCompiler here;
    check(drawn, "general 64");
  }
  check(drawn, "featured 64: softcap");
  const Variable packed("TILEWISE_CUDA_KERNELS", "packed");
  check(drawn, "general 64");
}

// Calls that such kernels do not take.
TEST(FeaturedKernels, WhatLiesAnyhowIsGeneral) {
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
